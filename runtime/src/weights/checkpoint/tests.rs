use super::*;
use crate::weights::made;

fn index(dir: &Path, map: &str) {
    std::fs::write(dir.join("model.safetensors.index.json"), format!("{{\"metadata\":{{}},\"weight_map\":{map}}}"))
        .unwrap();
}

fn open_bytes(name: &str, bytes: &[u8]) -> Failure {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(name), bytes).unwrap();
    Checkpoint::open(dir.path().join(name)).unwrap_err()
}

#[test]
fn one_file_by_itself_and_in_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.safetensors");
    made::safetensors(&file, &[("a", &[2], &[1.0, 2.0]), ("b", &[], &[3.0])]);
    std::fs::write(dir.path().join("config.json"), r#"{"hidden_size": 2}"#).unwrap();
    for path in [dir.path(), &file] {
        let checkpoint = Checkpoint::open(path).unwrap();
        assert_eq!(checkpoint.path(), path);
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(checkpoint.info("a").unwrap().shape, [2]);
        assert_eq!(checkpoint.read_f32("a").unwrap(), [1.0, 2.0]);
        assert_eq!(checkpoint.read("b").unwrap().bytes, 3.0f32.to_le_bytes());
        assert_eq!(checkpoint.config().unwrap()["hidden_size"], 2);
        assert!(!checkpoint.is_meta());
        assert!(checkpoint.info("c").is_none());
    }
}

#[test]
fn the_hash_is_of_type_shape_and_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a.safetensors"), dir.path().join("b.pth"));
    made::safetensors(&a, &[("x", &[2], &[1.0, 2.0]), ("y", &[2, 1], &[1.0, 2.0]), ("z", &[2], &[1.0, 2.5])]);
    made::torch_dict(&b, &[("x", &[2], &[1.0, 2.0])]);
    let (a, b) = (Checkpoint::open(a).unwrap(), Checkpoint::open(b).unwrap());
    let x = a.hash_tensor("x").unwrap();
    assert_eq!(x, b.hash_tensor("x").unwrap());
    assert_ne!(x, a.hash_tensor("y").unwrap());
    assert_ne!(x, a.hash_tensor("z").unwrap());
}

#[test]
fn a_missing_shard_matters_to_its_own_tensors() {
    let dir = tempfile::tempdir().unwrap();
    made::safetensors(&dir.path().join("one.safetensors"), &[("a", &[1], &[1.0])]);
    std::fs::write(dir.path().join("three.safetensors"), b"").unwrap();
    index(dir.path(), r#"{"a":"one.safetensors","b":"two.safetensors","c":"three.safetensors","d":"one.safetensors"}"#);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!(checkpoint.read_f32("a").unwrap(), [1.0]);
    assert!(checkpoint.info("b").is_none());
    let missing = checkpoint.read_f32("b").unwrap_err();
    assert_eq!(missing.path, Some(dir.path().join("two.safetensors")));
    assert_eq!(missing.what, "is missing, and the index names it as a shard");
    assert_eq!(missing.notes, ["tensor `b` is in this shard"]);
    assert!(missing.help.unwrap().contains("download `two.safetensors`"));
    assert!(checkpoint.read("c").unwrap_err().what.contains("is empty"));
    assert!(checkpoint.read("d").unwrap_err().what.contains("holds no tensor `d`, and the index says that it does"));
    let by_index = Checkpoint::open(dir.path().join("model.safetensors.index.json")).unwrap();
    assert_eq!(by_index.read_f32("a").unwrap(), [1.0]);
}

#[test]
fn shards_without_their_index_say_so() {
    let dir = tempfile::tempdir().unwrap();
    for i in 1..=2 {
        made::safetensors(&dir.path().join(format!("model-0000{i}-of-00002.safetensors")), &[("a", &[1], &[0.0])]);
        let failure = Checkpoint::open(dir.path()).unwrap_err();
        assert_eq!(failure.what, "holds shards, and not the index that says which tensor is in which");
        assert_eq!(
            failure.help.unwrap(),
            "download `model.safetensors.index.json` into it, from where the shards are from"
        );
    }
}

#[test]
fn an_index_names_files_beside_it_only() {
    for (map, found) in [
        (r#"{"a":"../other.safetensors"}"#, "other.safetensors"),
        (r#"{"a":"/etc/passwd"}"#, "/etc/passwd"),
        (r#"{"a":".."}"#, "the shard"),
        (r#"{"a":3}"#, "the shard 3"),
        ("[]", "no object `weight_map`"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        index(dir.path(), map);
        let failure = Checkpoint::open(dir.path()).unwrap_err();
        assert!(failure.what.contains(found), "{failure}");
    }
}

#[test]
fn a_name_that_is_not_there_comes_with_its_neighbour() {
    let dir = tempfile::tempdir().unwrap();
    made::torch_dict(&dir.path().join("w.pth"), &[("blocks.0.norm1.weight", &[1], &[1.0])]);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let failure = checkpoint.read_f32("blocks.0.norm.weight").unwrap_err();
    assert_eq!(failure.what, "holds no tensor `blocks.0.norm.weight`");
    assert_eq!(failure.notes, ["the nearest name in it is `blocks.0.norm1.weight`"]);
}

#[test]
fn files_that_are_something_else() {
    assert!(open_bytes("w.pth", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.").what.contains("cut short"));
    assert!(open_bytes("w.bin", b"\x80\x04}.").what.contains("a pickle by itself"));
    assert!(
        open_bytes("w.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
            .what
            .contains("Git LFS")
    );
    assert!(open_bytes("w.bin", b"<!DOCTYPE html>").what.contains("a web page"));
    assert!(open_bytes("w.pth", b"").what.contains("is empty"));
    assert!(open_bytes("w.pth", b"something else").what.contains("neither"));
    assert!(open_bytes("w.safetensors", b"PK\x03\x04").what.contains("cut short"));
}

#[test]
fn paths_without_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Checkpoint::open(dir.path().join("no")).unwrap_err().what.contains("cannot be opened as a checkpoint"));
    std::fs::write(dir.path().join("readme.md"), "").unwrap();
    let none = Checkpoint::open(dir.path()).unwrap_err();
    assert_eq!(none.what, "is a folder without a checkpoint");
    assert_eq!(none.notes, ["it holds `readme.md`"]);
    made::torch_dict(&dir.path().join("a.pth"), &[("x", &[1], &[1.0])]);
    made::torch_dict(&dir.path().join("b.pth"), &[("x", &[1], &[1.0])]);
    assert!(
        Checkpoint::open(dir.path())
            .unwrap_err()
            .what
            .contains("2 files that could be the checkpoint: `a.pth`, `b.pth`")
    );
    std::fs::write(dir.path().join("config.json"), "{").unwrap();
    std::fs::rename(dir.path().join("a.pth"), dir.path().join("pytorch_model.bin")).unwrap();
    assert!(Checkpoint::open(dir.path()).unwrap_err().what.contains("is not JSON"));
}

#[test]
fn meta_shards_are_put_together() {
    let dir = tempfile::tempdir().unwrap();
    let shard = |i: usize, k: f32| {
        made::torch_dict(
            &dir.path().join(format!("consolidated.{i:02}.pth")),
            &[
                ("layers.0.attention.wq.weight", &[1, 2], &[k, k + 1.0]),
                ("layers.0.attention.wo.weight", &[2, 1], &[k, k + 1.0]),
                ("layers.0.attention_norm.weight", &[2], &[7.0, 8.0]),
                (
                    "layers.0.feed_forward.w1.weight",
                    &[1, if i == 2 { 3 } else { 2 }],
                    &[0.0; 3][..if i == 2 { 3 } else { 2 }],
                ),
                ("tok_embeddings.weight", &[3, 1], &[k, k, k]),
                ("rope.freqs", &[1], &[0.0]),
            ],
        )
    };
    shard(0, 0.0);
    shard(1, 10.0);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert!(checkpoint.is_meta());
    assert_eq!(checkpoint.info("layers.0.attention.wq.weight").unwrap().shape, [2, 2]);
    assert_eq!(checkpoint.read_f32("layers.0.attention.wq.weight").unwrap(), [0.0, 1.0, 10.0, 11.0]);
    assert_eq!(checkpoint.info("layers.0.attention.wo.weight").unwrap().shape, [2, 2]);
    assert_eq!(checkpoint.read_f32("layers.0.attention.wo.weight").unwrap(), [0.0, 10.0, 1.0, 11.0]);
    assert_eq!(checkpoint.read_f32("layers.0.attention_norm.weight").unwrap(), [7.0, 8.0]);
    assert_eq!(checkpoint.info("tok_embeddings.weight").unwrap().shape, [3, 2]);
    shard(2, 20.0);
    let odd = Checkpoint::open(dir.path()).unwrap();
    let failure = odd.read("layers.0.feed_forward.w1.weight").unwrap_err();
    assert!(failure.what.contains("no parts of one tensor"), "{failure}");
    std::fs::remove_file(dir.path().join("consolidated.01.pth")).unwrap();
    assert!(Checkpoint::open(dir.path()).unwrap_err().what.contains("misses `consolidated.01.pth`"));
    // One by itself, whatever it is called and whether or not the others are there.
    std::fs::remove_file(dir.path().join("consolidated.02.pth")).unwrap();
    let failure = Checkpoint::open(dir.path()).unwrap_err();
    assert_eq!(failure.what, "is one of 2 shards, and every tensor is split over all of them");
    assert_eq!(failure.notes, ["tensor `layers.0.attention.wq.weight` has 1 of its 2 rows in it"]);
    std::fs::rename(dir.path().join("consolidated.00.pth"), dir.path().join("llama.pth")).unwrap();
    assert!(
        Checkpoint::open(dir.path().join("llama.pth")).unwrap_err().help.unwrap().contains("`consolidated.01.pth`")
    );
}

#[test]
fn a_split_tensor_with_nothing_in_it() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..2 {
        made::torch_dict(
            &dir.path().join(format!("consolidated.{i:02}.pth")),
            &[("layers.0.attention.wo.weight", &[0, 1], &[])],
        );
    }
    assert!(Checkpoint::open(dir.path()).unwrap().read_f32("layers.0.attention.wo.weight").unwrap().is_empty());
}

#[test]
fn shards_of_pytorch_by_their_index() {
    let dir = tempfile::tempdir().unwrap();
    made::torch_dict(&dir.path().join("pytorch_model-00001-of-00002.bin"), &[("a", &[2], &[1.0, 2.0])]);
    made::torch_dict(&dir.path().join("pytorch_model-00002-of-00002.bin"), &[("b", &[1], &[3.0])]);
    let map = r#"{"weight_map":{"a":"pytorch_model-00001-of-00002.bin","b":"pytorch_model-00002-of-00002.bin"}}"#;
    std::fs::write(dir.path().join("pytorch_model.bin.index.json"), map).unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.read_f32("a").unwrap(), [1.0, 2.0]);
    assert_eq!(checkpoint.read_f32("b").unwrap(), [3.0]);
    // One shard in the place of the other.
    let (one, two) = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin");
    std::fs::copy(dir.path().join(two), dir.path().join(one)).unwrap();
    let failure = Checkpoint::open(dir.path()).unwrap().read_f32("a").unwrap_err();
    assert_eq!(failure.path, Some(dir.path().join(one)));
    assert_eq!(failure.what, "holds no tensor `a`, and the index says that it does");
}

#[test]
fn metas_shards_keep_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let shard = |file: &str, root: &str| {
        let pickle = made::Pickle::new().open_dict().text("layers.0.attention.wq.weight");
        let pickle = pickle.tensor("FloatStorage", "0", 1, 0, &[1, 1], &[1, 1]).close_dict().stop();
        made::torch_zip_in(root, &dir.path().join(file), &pickle, &[("0", &made::floats(&[1.0]))], false);
    };
    shard("consolidated.00.pth", "consolidated.00");
    shard("consolidated.01.pth", "consolidated.01");
    assert!(Checkpoint::open(dir.path()).is_ok());
    shard("consolidated.01.pth", "consolidated.00");
    let failure = Checkpoint::open(dir.path()).unwrap_err();
    assert_eq!(failure.path, Some(dir.path().join("consolidated.01.pth")));
    assert_eq!(failure.what, "was saved as `consolidated.00.pth`, and every shard has its place");
    // Older ones have a name that tells nothing.
    shard("consolidated.01.pth", "archive");
    assert!(Checkpoint::open(dir.path()).is_ok());
}
