//! What a store promises of its files.

use std::io::Write as _;

use rustix::fs::{MemfdFlags, memfd_create};
use simward_protocol::compile::{Asset, Compile, ENTRY};

use super::*;
use crate::limits::Limits;
use crate::tenants::Tenant;

fn record(id: &str) -> Record {
    Record {
        id: id.into(),
        tenant: "local".into(),
        name: None,
        shared: false,
        token: "t".into(),
        limits: Limits::default(),
        idle_timeout_secs: 1.0,
        max_age_secs: 1.0,
        created_millis: 0,
        is_default: false,
        models: std::collections::BTreeMap::new(),
        snapshots: std::collections::BTreeMap::new(),
        next_checkpoint: 0,
        recordings: std::collections::BTreeMap::new(),
    }
}

fn written(xml: &str) -> Compile {
    Compile { entry: ENTRY.into(), model_xml: xml.into(), assets: Vec::new(), keep: true }
}

fn source(xml: &str) -> Key {
    Key::of(&written(xml))
}

fn compiled(bytes: &[u8]) -> Arc<std::os::fd::OwnedFd> {
    let file = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
    let mut file = std::fs::File::from(file);
    file.write_all(bytes).unwrap();
    Arc::new(file.into())
}

fn bytes_of(model: &Model) -> Vec<u8> {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::from(model.file().unwrap().try_clone().unwrap());
    let mut bytes = vec![0; usize::try_from(model.about.bytes).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn sessions_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path()), &Config::default()).unwrap();
    store.save(&record("sim_1")).unwrap();
    store.save(&record("sim_2")).unwrap();
    store.save(&Record { name: Some("new".into()), ..record("sim_2") }).unwrap();
    store.forget("sim_1");
    let found = Store::open(Some(folder.path()), &Config::default()).unwrap().records();
    assert_eq!(found.records, [Record { name: Some("new".into()), ..record("sim_2") }]);
    assert!(found.damaged.is_empty());
}

#[test]
fn a_damaged_record_costs_that_session_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path()), &Config::default()).unwrap();
    for id in ["sim_1", "sim_2", "sim_3"] {
        store.save(&record(id)).unwrap();
    }
    let path = folder.path().join("sessions/sim_1/record");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    std::fs::write(folder.path().join("sessions/sim_2/record"), "").unwrap();
    let found = store.records();
    assert_eq!(found.records, [record("sim_3")]);
    assert_eq!(found.damaged, ["sim_1".to_owned(), "sim_2".to_owned()].into());
    assert!(folder.path().join("damaged/sim_1/record").exists());
    // Once moved aside, it is no trouble any more.
    assert!(store.records().damaged.is_empty());
}

#[test]
fn a_record_of_another_session_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path()), &Config::default()).unwrap();
    store.save(&record("sim_1")).unwrap();
    std::fs::rename(folder.path().join("sessions/sim_1"), folder.path().join("sessions/sim_2"))
        .unwrap();
    assert_eq!(store.records().damaged, ["sim_2".to_owned()].into());
}

#[test]
fn a_compiled_model_is_found_again_by_its_tenant_only() {
    let folder = tempfile::tempdir().unwrap();
    let (tenant, key) = (Tenant::local(), source("<mujoco/>"));
    let store = Store::open(Some(folder.path()), &Config::default()).unwrap();
    let file = compiled(b"compiled model");
    store
        .put_model(&tenant, (&key, &written("<mujoco/>")), &file, &(14, 3, vec!["careful".into()]))
        .unwrap();
    let store = Store::open(Some(folder.path()), &Config::default()).unwrap();
    let model = store.models().get(&tenant, &key).unwrap();
    assert_eq!((model.about.bytes, model.about.state_values), (14, 3));
    assert_eq!(model.about.warnings, ["careful"]);
    assert_eq!(bytes_of(&model), b"compiled model");
    assert!(store.models().get(&Tenant::named("other"), &key).is_none());
    assert!(store.models().get(&tenant, &source("<mujoco> </mujoco>")).is_none());
}

#[test]
fn a_source_is_kept_beside_what_was_compiled_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = Tenant::local();
    let asset = Asset { path: "a/x.stl".into(), content: vec![7; 100_000] };
    let source = Compile { assets: vec![asset], ..written("<mujoco> </mujoco>") };
    let key = Key::of(&source);
    for folder in [Some(folder.path()), None] {
        let store = Store::open(folder, &Config::default()).unwrap();
        let (file, about) = (compiled(b"compiled model"), (14, 3, vec![]));
        let model = store.put_model(&tenant, (&key, &source), &file, &about).unwrap();
        assert_eq!(model.source().unwrap(), source);
        assert_eq!(bytes_of(&model), b"compiled model");
        assert_eq!(model.outline().unwrap().assets, [("a/x.stl".to_owned(), 100_000)]);
        let bytes = store.models().usage(&tenant).bytes;
        assert!((100_000..101_000).contains(&bytes), "{bytes}");
    }
    // After a restart as well, and only whole.
    let store = Store::open(Some(folder.path()), &Config::default()).unwrap();
    assert_eq!(store.models().get(&tenant, &key).unwrap().source().unwrap(), source);
    assert!(store.models().get(&Tenant::named("other"), &key).is_none());
    let of_tenant = std::fs::read_dir(folder.path().join("models")).unwrap().next();
    let path = of_tenant.unwrap().unwrap().path().join(key.to_string());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[50_000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let model = store.models().get(&tenant, &key).unwrap();
    assert_eq!(bytes_of(&model), b"compiled model");
    assert_eq!(model.outline().unwrap().model_xml, "<mujoco> </mujoco>");
    assert_eq!(model.source().unwrap_err().code(), "model_source_unavailable");
}

#[test]
fn a_model_that_an_earlier_version_kept_has_no_source() {
    let folder = tempfile::tempdir().unwrap();
    let (tenant, key) = (Tenant::local(), source("<mujoco/>"));
    let store = Store::open(Some(folder.path()), &Config::default()).unwrap();
    let put =
        store.put_model(&tenant, (&key, &written("<mujoco/>")), &compiled(b"x"), &(1, 3, vec![]));
    drop(put.unwrap());
    let of_tenant = std::fs::read_dir(folder.path().join("models")).unwrap().next();
    let path = of_tenant.unwrap().unwrap().path().join(key.to_string());
    let text = br#"{"bytes":1,"crc32":2363233923,"state_values":3,"warnings":[]}"#;
    let length = (text.len() as u64).to_le_bytes();
    std::fs::write(path, [b"x", &text[..], &length, b"SIMWMDL1"].concat()).unwrap();
    let model = store.models().get(&tenant, &key).unwrap();
    assert_eq!(bytes_of(&model), b"x");
    assert_eq!(model.source().unwrap_err().code(), "model_source_unavailable");
}

#[test]
fn a_compiled_model_with_a_flipped_bit_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let (tenant, key) = (Tenant::local(), source("<mujoco/>"));
    let store = Store::open(Some(folder.path()), &Config::default()).unwrap();
    store
        .put_model(
            &tenant,
            (&key, &written("<mujoco/>")),
            &compiled(b"compiled model"),
            &(14, 3, vec![]),
        )
        .unwrap();
    let of_tenant = std::fs::read_dir(folder.path().join("models")).unwrap().next();
    let path = of_tenant.unwrap().unwrap().path().join(key.to_string());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let store = Store::open(Some(folder.path()), &Config::default()).unwrap();
    let error = store.models().get(&tenant, &key).unwrap().file().unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    // One that is cut short is as good as none.
    std::fs::write(&path, &bytes[..20]).unwrap();
    let store = Store::open(Some(folder.path()), &Config::default()).unwrap();
    assert!(store.models().get(&tenant, &key).is_none());
}

#[test]
fn models_that_nobody_uses_make_room_and_others_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { models_per_tenant_bytes_max: 1600, ..Config::default() };
    let store = Store::open(Some(folder.path()), &config).unwrap();
    let tenant = Tenant::local();
    let put = |name: &str| {
        store.put_model(
            &tenant,
            (&source(name), &written(name)),
            &compiled(&[7; 400]),
            &(400, 1, vec![]),
        )
    };
    let used = put("used").unwrap();
    drop(put("unused").unwrap());
    let third = put("third").unwrap();
    assert!(store.models().get(&tenant, &source("unused")).is_none());
    let error = put("fourth").unwrap_err();
    assert!(matches!(error, Error::ModelsFull { max: 1600, .. }), "{error}");
    assert_eq!(bytes_of(&used), bytes_of(&third));
    // Another tenant has room of its own.
    let other = Tenant::named("other");
    let file = compiled(&[7; 400]);
    store.put_model(&other, (&source("used"), &written("used")), &file, &(400, 1, vec![])).unwrap();
}

#[test]
fn a_checkpoint_belongs_to_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path()), &Config::default()).unwrap();
    store.save(&record("sim_1")).unwrap();
    let file = store.checkpoints().create("sim_1", 0, 5).unwrap();
    let again = store.checkpoints().open("sim_1", 0).unwrap();
    assert!(Arc::ptr_eq(&file, &again));
    store.checkpoints().close("sim_1");
    // Whoever still had it has lost it.
    let other = store.checkpoints().open("sim_1", 0).unwrap();
    assert!(!Arc::ptr_eq(&file, &other));
    store.checkpoints().open("sim_1", 1).unwrap_err();
    store.forget("sim_1");
    assert!(!folder.path().join("sessions/sim_1").exists());
}

#[test]
fn a_store_without_a_folder_forgets_nothing_while_it_lives() {
    let store = Store::open(None, &Config::default()).unwrap();
    let (tenant, key) = (Tenant::local(), source("<mujoco/>"));
    let kept = store
        .put_model(&tenant, (&key, &written("<mujoco/>")), &compiled(b"abc"), &(3, 1, vec![]))
        .unwrap();
    assert_eq!(bytes_of(&store.models().get(&tenant, &key).unwrap()), b"abc");
    // What was used last stays a while beyond that, as far as there is memory for it.
    drop(kept);
    assert_eq!(bytes_of(&store.models().get(&tenant, &key).unwrap()), b"abc");
    assert!(store.models().get(&Tenant::named("other"), &key).is_none());
    let large = (256 << 20, 1, vec![]);
    drop(
        store
            .put_model(
                &tenant,
                (&source("<mujoco >"), &written("<mujoco >")),
                &compiled(b"large"),
                &large,
            )
            .unwrap(),
    );
    assert!(store.models().get(&tenant, &key).is_none());
    let file = store.checkpoints().create("sim_1", 0, 5).unwrap();
    store.checkpoints().close("sim_1");
    assert!(Arc::ptr_eq(&file, &store.checkpoints().open("sim_1", 0).unwrap()));
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path()), &Config::default()).unwrap();
    std::fs::remove_dir_all(folder.path().join("sessions")).unwrap();
    std::fs::write(folder.path().join("sessions"), "in the way").unwrap();
    let error = store.save(&record("sim_1")).unwrap_err();
    assert_eq!(error.code(), "store_unavailable");
    let error = store.checkpoints().create("sim_1", 0, 5).unwrap_err();
    assert_eq!(error.code(), "store_unavailable");
}
