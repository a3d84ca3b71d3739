//! Views of the configuration are tried before anything is touched.

use orderwire_runtime::{Options, start};

#[tokio::test]
async fn a_view_that_cannot_be_read_is_a_fault_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orderwire.yaml");
    let yaml = "
datasets:
  air: {fields: [{name: no2, type: float}, {name: station, type: text}]}
views:
  fine: {path: /fine, dataset: air, filter: 'no2=gt.1.5'}
  value: {path: /value, dataset: air, filter: 'no2=gt.high'}
  column: {path: /column, dataset: air, filter: 'or=(no2.gt.1,co.gt.1)'}
  group: {path: /group, dataset: air, shape: grouped, group_by: no2}
";
    std::fs::write(&file, yaml).unwrap();
    let data = folder.path().join("data");
    let options = Options {
        config: Some(file),
        data: Some(data.clone()),
        listen: Some("127.0.0.1:0".to_owned()),
        ..Options::default()
    };
    let Err(error) = start(options).await else { panic!("it started") };
    assert!(error.is_configuration());
    let shown = error.to_string();
    assert_eq!(shown.lines().count(), 4, "a heading and one line for each: {shown}");
    for part in ["views.value.filter", "\"co\"", "views.group.group_by"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!data.exists(), "nothing was made");
}
