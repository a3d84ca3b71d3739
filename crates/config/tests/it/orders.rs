//! What orders are resolved with.

use std::time::Duration;

use orderwire_config::{ByteSize, Names, TargetKind};

use crate::load;

fn names(yaml: &str) -> Names {
    Names::of(&load(yaml).unwrap_or_else(|faults| panic!("{faults}")))
}

fn faults(yaml: &str) -> String {
    let shown = load(yaml).map(|config| panic!("no fault: {config:?}"));
    shown.unwrap_or_else(|faults| faults.replace("orderwire.yaml:", ""))
}

#[test]
fn words_are_found_in_any_case_and_by_their_aliases() {
    let names = names("");
    let environments = [
        ("dev", "dev"),
        ("Development", "dev"),
        ("DEVELOPMENT", "dev"),
        ("Test", "qa"),
        ("UAT", "uat"),
        ("Staging", "stage"),
        ("Pre-Production", "preprod"),
        ("Prod", "production"),
        ("Production", "production"),
    ];
    for (given, meant) in environments {
        assert_eq!(names.environment(Some(given)), Some(meant), "{given}");
    }
    let archtypes = [("SaaS", "saas"), ("Edge", "edge"), ("On-Prem", "classic"), ("ONPREM", "classic")];
    for (given, meant) in archtypes {
        assert_eq!(names.archtype(given), Some(meant), "{given}");
    }
    let hardware = [("Classic", "shared"), ("Shared", "shared"), ("DEDICATED", "dedicated")];
    for (given, meant) in hardware {
        assert_eq!(names.hardware(given), Some(meant), "{given}");
    }
    for unknown in ["", " dev", "default", "classic", "dev\0", "prоd"] {
        assert_eq!(names.environment(Some(unknown)), None, "{unknown:?}");
    }
    assert_eq!((names.archtype("shared"), names.hardware("on-prem")), (None, None));
    let environments: Vec<&str> = names.environments().collect();
    assert_eq!(environments, ["dev", "preprod", "production", "qa", "stage", "uat"]);
    assert_eq!(names.archtypes(), ["classic", "edge", "saas"]);
    assert_eq!(names.hardware_classes(), ["dedicated", "shared"]);
}

#[test]
fn a_configured_word_adds_names_to_one_that_exists_or_is_one_more() {
    let names = names(
        "environments: {production: {aliases: [Live]}, lab: {aliases: [bench, LAB]}}
archtypes: {saas: {aliases: [Cloud]}, fog: {}}
hardware: {dedicated: {aliases: [bare metal]}}
",
    );
    for (given, meant) in [("live", "production"), ("Prod", "production"), ("LAB", "lab"), ("Bench", "lab")] {
        assert_eq!(names.environment(Some(given)), Some(meant), "{given}");
    }
    for (given, meant) in [("cloud", "saas"), ("SaaS", "saas"), ("Fog", "fog"), ("on-prem", "classic")] {
        assert_eq!(names.archtype(given), Some(meant), "{given}");
    }
    assert_eq!(names.hardware("Bare Metal"), Some("dedicated"));
    assert_eq!(names.hardware("classic"), Some("shared"));
    assert_eq!(names.archtypes(), ["classic", "edge", "fog", "saas"]);
}

#[test]
fn what_is_configured_goes_before_an_alias_that_exists_anyway() {
    // As an alias of its own, and as a word of its own.
    let names = names("environments: {test: {}, lab: {aliases: [Staging]}}\nhardware: {classic: {}}\n");
    assert_eq!(names.environment(Some("Test")), Some("test"));
    assert_eq!(names.environment(Some("staging")), Some("lab"));
    assert_eq!(
        (names.environment(Some("qa")), names.environment(Some("stage"))),
        (Some("qa"), Some("stage"))
    );
    assert_eq!((names.hardware("Classic"), names.hardware("shared")), (Some("classic"), Some("shared")));
}

#[test]
fn an_order_that_names_no_environment_is_for_the_default_one() {
    assert_eq!(names("").environment(None), Some("dev"));
    assert_eq!(names("environments: {default: {target: local}}").environment(None), Some("dev"));
    assert_eq!(names("environments: {default: {name: stage}}").environment(None), Some("stage"));
    assert_eq!(names("environments: {default: {name: prod}}").environment(None), Some("production"));
    assert_eq!(names("environments: {default: {name: lab}, lab: {}}").environment(None), Some("lab"));
    assert_eq!(names("environments: {default: {name: qa}}").environment(Some("default")), None);
}

#[test]
fn an_environment_has_its_target_or_that_of_default_or_the_local_one() {
    let none = names("");
    assert_eq!((none.target_of("dev"), none.target_of("production")), (Some("local"), Some("local")));
    let names = names(
        "targets: {small: {}, big: {}}
environments: {default: {target: small}, production: {target: big}, stage: {target: local}, lab: {}}
",
    );
    for (environment, target) in
        [("production", "big"), ("stage", "local"), ("lab", "small"), ("dev", "small")]
    {
        assert_eq!(names.target_of(environment), Some(target), "{environment}");
    }
    // Of names alone, aliases resolved before.
    assert_eq!((names.target_of("prod"), names.target_of("default")), (None, None));
}

#[test]
fn a_product_has_other_names() {
    let names = names("products: {aliases: {Small-Module: sensor, tiny: sensor, Seite: web}}");
    for (given, meant) in
        [("SMALL-module", "sensor"), ("Tiny", "sensor"), ("seite", "web"), ("Sensor", "sensor")]
    {
        assert_eq!(names.product(given), meant, "{given}");
    }
    assert_eq!(names.product("Unknown"), "unknown");
    assert_eq!(names.aliases_of("sensor").collect::<Vec<_>>(), ["small-module", "tiny"]);
    assert_eq!(names.aliases_of("small-module").count(), 0);
}

#[test]
fn the_local_target_exists_and_can_be_changed() {
    let targets = load("").unwrap().target_settings();
    assert_eq!(targets.keys().collect::<Vec<_>>(), ["local"]);
    let local = &targets["local"];
    assert_eq!(
        (local.kind, local.namespace.as_str(), local.concurrency),
        (TargetKind::Process, "{client}", 16)
    );
    assert_eq!((local.memory, local.grace.0), (ByteSize(1 << 30), Duration::from_secs(5)));
    let targets = load("targets: {local: {grace: 0s, memory: 1TiB}, eu: {concurrency: 256}}")
        .unwrap()
        .target_settings();
    assert_eq!(targets.keys().collect::<Vec<_>>(), ["eu", "local"]);
    assert_eq!((targets["local"].grace.0, targets["local"].concurrency), (Duration::ZERO, 16));
}

#[test]
fn a_word_means_one_thing() {
    let shown = faults(
        "environments:
  dev: {aliases: [Lab, DEV]}
  lab: {aliases: [prod, stage, '']}
  test: {aliases: [bench, Prod, Test]}
  production: {aliases: [\" live\", \"a\\tb\"]}
archtypes:
  fog: {aliases: [Cloud, SaaS]}
  mist: {aliases: [cloud, Mist, mist]}
hardware:
  gpu: {aliases: [shared, classic]}
products:
  folders: [./products, '']
  aliases: {Tiny: sensor, tiny: web, big: huge, huge: web, sensor: sensor, ' ': web}
",
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn environments_and_targets_fit_each_other() {
    let shown = faults(
        "targets:
  eu: {}
  Bad: {}
  half: {kind: gitops}
environments:
  default: {target: gone, name: nowhere, aliases: [any]}
  dev: {target: eu, name: dev}
  qa: {target: half}
  lab: {target: ue}
  Stage: {target: eu}
",
    );
    insta::assert_snapshot!(shown);
    assert!(faults("environments: {default: {name: default}}").contains("there is no environment default"));
}

#[test]
fn settings_of_a_target_have_bounds() {
    let shown = faults(
        "targets:
  low: {concurrency: 0, memory: 1KiB, namespace: ''}
  high: {concurrency: 257, memory: 2TiB, grace: 301s}
  wrong: {concurrency: -1, memory: much, grace: soon, namespace: [a], kind: helm, image: x}
",
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn the_template_of_a_namespace_can_make_a_dns_label() {
    let with = |template: &str| load(format!("targets: {{local: {{namespace: {template:?}}}}}"));
    for fine in ["{client}", "shop", "{client}-{environment}", "x{name}9", "{product}{name}", &"a".repeat(63)]
    {
        assert!(with(fine).is_ok(), "{fine}");
    }
    let bad = [
        "",
        "{}",
        "{client",
        "client}",
        "{Client}",
        "{ client }",
        "{{client}}",
        "{archtype}",
        "a_b",
        "A",
        "ä",
        "a.b",
        "a b",
        "-{client}",
        "{client}-",
        &"a".repeat(64),
        &format!("{{client}}{}", "a".repeat(63)),
    ];
    let shown: Vec<String> =
        bad.iter().map(|template| format!("{template:?}: {}", with(template).unwrap_err())).collect();
    insta::assert_snapshot!(shown.join("\n").replace("orderwire.yaml:1:30: ", ""));
}
