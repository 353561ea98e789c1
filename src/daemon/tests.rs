use super::*;
use crate::domain::plan::policy::StagePolicy;
use crate::ports::store::contract::sample;
use std::path::Path;

fn inputs(folder: &Path) -> Inputs {
    Inputs {
        options: Options {
            fleet: "acme".parse().unwrap(),
            stages: vec![StagePolicy::with_defaults("main".parse().unwrap())],
            poll_secs: 15,
            offline_after_secs: 300,
        },
        data_dir: folder.to_owned(),
        repo: RemoteUrl::Local(folder.join("fleet.git")),
        access: Access::default(),
        signers: BTreeMap::new(),
        listen: "127.0.0.1:0".parse().unwrap(),
        socket: folder.join("bellwether.sock"),
        certificate: CertificateSource::SelfMade { names: Default::default() },
        operators: BTreeMap::new(),
        secrets: Sources::default(),
        lists: Vec::new(),
        forge: None,
    }
}

#[tokio::test]
async fn a_controller_that_knows_devices_makes_no_new_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&folder.path().join("bellwether.db")).unwrap();
    store.commit(&sample::device_parts("kiosk-1", 1)).unwrap();
    drop(store);
    let error = start(inputs(folder.path())).await.err().expect("its devices would not believe it");
    assert!(matches!(error, DaemonError::KeysLost { .. }), "{error}");
    assert!(!folder.path().join("keys").exists());
}
