# NixOS module. In the configuration of the machine that runs the service:
#
#   imports = [ ./fleetcheck/deploy/module.nix ];
#   services.fleetcheck = {
#     enable = true;
#     package = …;                                        # README.md says how to build it
#     privateKeyFile = "/var/keys/github-app.pem";
#     webhookSecretFiles = [ "/var/keys/webhook" ];
#     settings = {
#       http.public_url = "https://fleet.example.org";
#       github.app_id = 12345;
#       github.owners = [ "acme" ];
#     };
#   };
#
# Then, as root: fleetcheck-doctor
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.fleetcheck;
  toml = pkgs.formats.toml { };

  # Where systemd puts what LoadCredential names; readable by the service alone.
  credential = name: "/run/credentials/fleetcheck.service/${name}";
  secrets = lib.imap0 (index: file: {
    name = "webhook-${toString index}";
    inherit file;
  }) cfg.webhookSecretFiles;
  hasUpdater = cfg.updaterPrivateKeyFile != null;
  credentials = [
    "github-app.pem:${cfg.privateKeyFile}"
  ]
  ++ lib.optional hasUpdater "updater-app.pem:${cfg.updaterPrivateKeyFile}"
  ++ map (secret: "${secret.name}:${secret.file}") secrets;

  fromOptions = {
    github = {
      private_key_file = credential "github-app.pem";
      webhook_secret_files = map (secret: credential secret.name) secrets;
    }
    // lib.optionalAttrs hasUpdater {
      updater_private_key_file = credential "updater-app.pem";
    };
    nix.program = lib.mkDefault "${cfg.nixPackage}/bin/nix";
  };

  programs = [
    cfg.nixPackage
    pkgs.git
    pkgs.openssh
  ]
  ++ lib.optional (cfg.nixEvalJobs != null) cfg.nixEvalJobs;

  # Looks at everything with the service's own user, secrets and folders.
  doctor = pkgs.writeShellScriptBin "fleetcheck-doctor" ''
    exec ${pkgs.systemd}/bin/systemd-run --pipe --wait --collect --quiet \
      --unit=fleetcheck-doctor -p User=fleetcheck -p StateDirectory=fleetcheck \
      ${lib.concatMapStringsSep " " (it: "-p LoadCredential=${lib.escapeShellArg it}") credentials} \
      -E PATH=${lib.makeBinPath programs} \
      ${pkgs.runtimeShell} -c '
        export FLEETCHECK__GITHUB__PRIVATE_KEY_FILE="$CREDENTIALS_DIRECTORY/github-app.pem"
        ${lib.optionalString hasUpdater ''
          export FLEETCHECK__GITHUB__UPDATER_PRIVATE_KEY_FILE="$CREDENTIALS_DIRECTORY/updater-app.pem"
        ''}
        export FLEETCHECK__GITHUB__WEBHOOK_SECRET_FILES="${
          lib.concatMapStringsSep "," (it: "$CREDENTIALS_DIRECTORY/${it.name}") secrets
        }"
        exec ${cfg.package}/bin/fleetcheck doctor'
  '';
in
{
  options.services.fleetcheck = {
    enable = lib.mkEnableOption "fleetcheck, CI for NixOS fleets on GitHub";

    package = lib.mkOption {
      type = lib.types.package;
      description = "The package with `bin/fleetcheck`.";
    };

    nixPackage = lib.mkOption {
      type = lib.types.package;
      default = config.nix.package;
      defaultText = lib.literalExpression "config.nix.package";
      description = "The Nix that evaluates and builds: 2.8 or newer.";
    };

    nixEvalJobs = lib.mkOption {
      type = lib.types.nullOr lib.types.package;
      default = null;
      example = lib.literalExpression "pkgs.nix-eval-jobs";
      description = "A `nix-eval-jobs` of the same release as `nixPackage`, for flakes with many packages, checks or hydraJobs.";
    };

    privateKeyFile = lib.mkOption {
      # Not `path`: a path literal would be copied into the store, which everybody can read.
      type = lib.types.strMatching "/.*";
      example = "/var/keys/github-app.pem";
      description = "The App's private key. It may be readable for root alone.";
    };

    updaterPrivateKeyFile = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "/.*");
      default = null;
      example = "/var/keys/updater-app.pem";
      description = "The private key of the App of updates, where `settings.github.updater_app_id` names one.";
    };

    webhookSecretFiles = lib.mkOption {
      type = lib.types.nonEmptyListOf (lib.types.strMatching "/.*");
      example = [ "/var/keys/webhook" ];
      description = "Files with the webhook's secret, the newest first; all are accepted.";
    };

    settings = lib.mkOption {
      type = toml.type;
      default = { };
      description = ''
        What stands in `/etc/fleetcheck.toml`; `deploy/fleetcheck.toml` says what each key means.
        The files of secrets are options of their own.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    services.fleetcheck.settings = fromOptions;

    environment.etc."fleetcheck.toml".source = toml.generate "fleetcheck.toml" cfg.settings;
    environment.systemPackages = [
      cfg.package
      doctor
    ];

    users.users.fleetcheck = {
      isSystemUser = true;
      group = "fleetcheck";
      home = "/var/lib/fleetcheck";
    };
    users.groups.fleetcheck = { };

    systemd.services.fleetcheck = {
      description = "fleetcheck: CI for NixOS fleets on GitHub";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [
        "network-online.target"
        "nix-daemon.socket"
      ];
      path = programs;
      # A home of its own: no netrc, no ssh keys, no trusted settings of a person.
      environment = {
        HOME = "/var/lib/fleetcheck";
        XDG_CACHE_HOME = "/var/cache/fleetcheck";
      };
      restartTriggers = [ config.environment.etc."fleetcheck.toml".source ];
      # The same as in fleetcheck.service, which says why.
      serviceConfig = {
        Type = "exec";
        User = "fleetcheck";
        Group = "fleetcheck";
        ExecStart = "${cfg.package}/bin/fleetcheck serve";
        LoadCredential = credentials;
        StateDirectory = "fleetcheck";
        StateDirectoryMode = "0750";
        CacheDirectory = "fleetcheck";
        UMask = "0027";
        Restart = "on-failure";
        RestartSec = "5s";
        RestartPreventExitStatus = 2;
        KillMode = "mixed";
        TimeoutStopSec = "20s";
        NoNewPrivileges = true;
        ProtectSystem = "strict";
        ProtectHome = true;
        PrivateTmp = true;
        DevicePolicy = "closed";
        DeviceAllow = [ "/dev/kvm rw" ];
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        RestrictAddressFamilies = [
          "AF_UNIX"
          "AF_INET"
          "AF_INET6"
        ];
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        LockPersonality = true;
        CapabilityBoundingSet = "";
        SystemCallArchitectures = "native";
      };
    };
  };
}
