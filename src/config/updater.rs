//! The App of updates, where it is not the one that reports: `updater_…` of `[github]`.
use std::path::PathBuf;

use crate::config::reader::Section;
use crate::config::{Sealed, secret, value};

const ID: &str = "updater_app_id";
const KEY: &str = "updater_private_key_file";
const KEYS: &str = "updater_private_key_files";
const KEY_EXAMPLE: &str = "\"/run/credentials/fleetcheck.service/updater-app.pem\"";

/// An App for updates alone: it may write where the App that reports may only read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdaterApp {
    pub app_id: u64,
    /// Its private keys as PEM, the newest first; the newest that GitHub accepts signs.
    pub private_keys: Vec<Sealed>,
    /// Where they stand, in the same order.
    pub files: Vec<PathBuf>,
}

/// What the section says of it, which need not be anything. `None` after a mistake.
#[expect(clippy::option_option, reason = "a mistake is another thing than a setting not given")]
pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Option<UpdaterApp>> {
    let given = |section: &Section<'_, '_>, keys: &[&'static str]| {
        keys.iter().copied().find(|it| section.has_any(&[it]))
    };
    match (given(section, &[ID]), given(section, &[KEY, KEYS])) {
        (None, None) => Some(None),
        (Some(id), None) => section.lacks((KEY, KEY_EXAMPLE), id),
        (None, Some(key)) => section.lacks((ID, "67890"), key),
        (Some(_), Some(_)) => {
            let app_id = section.required(ID, "67890", value::app_id);
            let keys = section.either(
                (KEY, KEY_EXAMPLE),
                secret::private_key,
                (KEYS, secret::private_keys),
            );
            let (files, private_keys) = keys?.into_iter().unzip();
            Some(Some(UpdaterApp { app_id: app_id?, private_keys, files }))
        }
    }
}
