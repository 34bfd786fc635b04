//! Lock files of other kinds, in other places.
use super::fleet::Fleet;

#[tokio::test]
async fn a_flake_in_a_sub_folder_is_updated_there() {
    let hosts = [("raider", "echo ${a.v}")];
    let mut fleet = Fleet::new(&["a"], &hosts, "").await;
    fleet.move_to("nix");
    fleet.push().await;
    fleet.inputs().commit("a", "v = \"2\";");
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    let head = fleet.pull().head;
    assert_eq!(fleet.changed(&head), ["nix/flake.lock"]);
    assert_eq!(fleet.newest(&head), ["a"]);
}

#[tokio::test]
async fn an_input_that_follows_another_moves_with_it() {
    let hosts = [("raider", "echo ${a.v}${b.v}")];
    let mut fleet = Fleet::new(&["a", "b"], &hosts, "inputs = [\"a\"]\n").await;
    let declared = format!("inputs.a.url = \"{}\";", fleet.inputs().url("a"));
    fleet.inputs().commit_with("b", (&declared, "{ a, ... }"), "v = a.v;");
    fleet.declare("inputs.b.inputs.a.follows = \"a\";\n");
    fleet.push().await;
    fleet.inputs().commit("a", "v = \"2\";");
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    let pull = fleet.pull();
    assert_eq!(fleet.newest(&pull.head), ["a", "b"]);
    let lock = fleet.show_file(&pull.head, "flake.lock");
    let lock: serde_json::Value = serde_json::from_str(&lock).unwrap();
    assert_eq!(lock["nodes"]["b"]["inputs"]["a"], serde_json::json!(["a"]), "it still follows");
    assert_eq!(lock["nodes"].as_object().unwrap().len(), 3, "{lock:#}");
}

#[tokio::test]
async fn a_private_repository_s_pull_request_links_with_a_key() {
    let fleet = Fleet::private(&["a"], &[("raider", "echo ${a.v}")]).await;
    fleet.inputs().commit("a", "v = \"2\";");
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    let body = fleet.pull().body;
    let link = body.split_once("[built](").unwrap().1.split_once(')').unwrap().0;
    let (status, page) = fleet.world.get(link).await;
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("update of flake.lock"), "{page}");
    assert!(!body.contains("token") && !fleet.world.log().contains("ghs_"));
}
