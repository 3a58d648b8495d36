use std::collections::BTreeMap;

use super::super::made::Pickle;
use super::found::WRAPPERS;
use super::*;

fn read(pickle: &[u8]) -> Result<BTreeMap<String, View>> {
    tensors(pickle, Path::new("w.pth")).map(|found| found.views)
}

fn failure(pickle: &[u8]) -> String {
    let failure = read(pickle).unwrap_err();
    assert!(failure.help.is_some());
    failure.to_string()
}

#[test]
fn a_flat_dict_of_tensors() {
    let pickle =
        Pickle::new().open_dict().text("a").tensor("FloatStorage", "0", 6, 0, &[2, 3], &[3, 1]).close_dict().stop();
    let found = read(&pickle).unwrap();
    let a = View { dtype: Dtype::F32, key: "0".into(), offset: 0, shape: vec![2, 3], stride: vec![3, 1] };
    assert_eq!(found, BTreeMap::from([("a".to_string(), a)]));
}

#[test]
fn wrappers_are_looked_into() {
    for wrapper in WRAPPERS {
        let pickle = Pickle::new()
            .open_dict()
            .text("epoch")
            .int(3)
            .text("loss")
            .tensor("FloatStorage", "9", 1, 0, &[], &[])
            .text(wrapper)
            .open_dict()
            .text("a")
            .tensor("HalfStorage", "0", 4, 2, &[2], &[1])
            .close_dict()
            .close_dict()
            .stop();
        assert_eq!(read(&pickle).unwrap().keys().collect::<Vec<_>>(), ["a"], "{wrapper}");
    }
}

#[test]
fn the_command_line_beside_the_tensors_is_passed_over() {
    // `{"args": Namespace(lr = 0.1), "model": OrderedDict(a = parameter)}` with a version on the state dict.
    let pickle = Pickle::new()
        .open_dict()
        .text("args")
        .global("argparse", "Namespace")
        .raw(b")\x81}X\x02\0\0\0lrG\x3f\xb9\x99\x99\x99\x99\x99\x9asb")
        .text("model")
        .global("collections", "OrderedDict")
        .raw(b")R(")
        .text("a")
        .global("torch._utils", "_rebuild_parameter")
        .raw(b"(")
        .tensor("FloatStorage", "0", 1, 0, &[1], &[1])
        .raw(b"\x88NtRu}X\x09\0\0\0_metadataNsb")
        .close_dict()
        .stop();
    assert_eq!(read(&pickle).unwrap().keys().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn the_third_kind_of_tensor_has_its_own_type() {
    let pickle = Pickle::new()
        .open_dict()
        .text("a")
        .global("torch._utils", "_rebuild_tensor_v3")
        .raw(b"(")
        .storage("torch.storage", "UntypedStorage", "0", 8)
        .raw(b"K\0K\x04\x85K\x01\x85\x89N")
        .global("torch", "uint16")
        .raw(b"tR")
        .close_dict()
        .stop();
    assert_eq!(read(&pickle).unwrap()["a"].dtype, Dtype::U16);
}

#[test]
fn code_never_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("ran");
    let command = format!("touch {}", mark.display());
    let call = |p: Pickle| p.raw(b"(").text(&command).raw(b"tR").stop();
    for (module, name) in
        [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("__builtin__", "exec"), ("torch", "load")]
    {
        let message = failure(&call(Pickle::new().global(module, name)));
        assert!(
            message.contains(&format!("holds code (`{module}.{name}`) in its pickle, which lmvc never runs")),
            "{message}"
        );
        assert!(message.contains("safetensors"));
    }
    // By the newer instruction for names, by INST, by OBJ, and where only the name is passed on.
    assert!(failure(&call(Pickle::new().text("os").text("system").raw(b"\x93"))).contains("`os.system`"));
    assert!(failure(b"\x80\x02(X\x02\0\0\0lsios\nsystem\n.").contains("`os.system`"));
    assert!(failure(b"\x80\x02(cargparse\nNamespace\no.").contains("holds code"));
    assert!(failure(b"\x80\x02}X\x01\0\0\0acos\nsystem\ns.").contains("`os.system`"));
    assert!(!mark.exists());
}

#[test]
fn other_kinds_of_tensor_are_named() {
    let sparse = |beside: bool| {
        let dict = Pickle::new().open_dict().text("a").tensor("FloatStorage", "0", 1, 0, &[1], &[1]);
        let dict = if beside { dict.text("optimizer").open_dict() } else { dict };
        let dict = dict.text("b").global("torch._utils", "_rebuild_sparse_tensor").raw(b"NN\x86R");
        (if beside { dict.close_dict() } else { dict }).close_dict().stop()
    };
    let message = failure(&sparse(false));
    assert!(
        message.contains("holds tensor `b` as a kind (`_rebuild_sparse_tensor`) that lmvc cannot read"),
        "{message}"
    );
    assert_eq!(read(&sparse(true)).unwrap().len(), 1);
    let message = failure(&Pickle::new().global("torch", "QInt8Storage").stop());
    assert!(message.contains("numbers of a kind (`torch.QInt8Storage`)"), "{message}");
}

#[test]
fn what_is_not_known_does_nothing() {
    // Objects by every instruction that makes them, with state, items and arguments; one of them is called.
    let pickle = Pickle::new()
        .open_dict()
        .text("config")
        .raw(b"cmine.configs\nConfig\n)\x81}(")
        .text("lr")
        .raw(b"K\x01ub")
        .text("schedule")
        .raw(b"cfunctools\npartial\nK\x01\x85R)R")
        .text("named")
        .raw(b"cmine\nNamed\n)}\x92")
        .text("counts")
        .raw(b"ccollections\ndeque\n)R(K\x01K\x02e")
        .text("a")
        .tensor("FloatStorage", "0", 1, 0, &[1], &[1])
        .close_dict()
        .stop();
    assert_eq!(read(&pickle).unwrap().keys().collect::<Vec<_>>(), ["a"]);
}

fn dict_of(p: Pickle, key: &str, name: &str) -> Pickle {
    p.text(key).open_dict().text(name).tensor("FloatStorage", "0", 1, 0, &[1], &[1]).close_dict()
}

#[test]
fn where_several_have_tensors_it_is_told() {
    let found = |p: Pickle| tensors(&p.close_dict().stop(), Path::new("w.pth"));
    let both = dict_of(dict_of(Pickle::new().open_dict(), "model_ema", "average"), "model", "a");
    let both = found(both).unwrap();
    assert_eq!(both.views.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(both.notes, ["the tensors under `model` are taken; there are some under `model_ema` as well"]);
    let one = dict_of(dict_of(Pickle::new().open_dict(), "optimizer", "step"), "backbone", "a");
    let one = found(one).unwrap();
    assert_eq!(one.views.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(one.notes, ["the tensors under `backbone` are taken, which are the only ones"]);
    let two = dict_of(dict_of(Pickle::new().open_dict(), "generator", "a"), "critic", "a");
    let failure = found(two).unwrap_err();
    assert_eq!(failure.what, "holds tensors in 2 places, and none of them is known to be the model");
    assert_eq!(failure.notes, ["they are under `generator`, `critic`"]);
    assert!(found(dict_of(Pickle::new().open_dict(), "model", "a")).unwrap().notes.is_empty());
}

#[test]
fn a_name_that_stands_twice_is_damage() {
    let tensor = |p: Pickle| p.text("a").tensor("FloatStorage", "0", 1, 0, &[1], &[1]);
    let message = failure(&tensor(tensor(Pickle::new().open_dict())).close_dict().stop());
    assert!(message.contains("it names tensor `a` twice"), "{message}");
}

#[test]
fn modules_that_hold_each_other_end() {
    // Each module holds the one before twice; then one that holds itself.
    let mut modules =
        Pickle::new().raw(b"cmine\nModule\n)\x81}(").text("w").tensor("FloatStorage", "0", 1, 0, &[1], &[1]);
    modules = modules.raw(b"ubq\0");
    for i in 0..90u8 {
        modules = modules.raw(b"cmine\nModule\n)\x81}(").text("a").raw(&[b'h', i]).text("b").raw(&[b'h', i]);
        modules = modules.raw(&[b'u', b'b', b'q', i + 1]);
    }
    assert!(failure(&modules.stop()).contains("bytes of names, or 100 nested modules"));
    let itself = b"\x80\x02cmine\nModule\n)\x81q\0}X\x01\0\0\0ah\0sb.";
    assert!(failure(itself).contains("100 nested modules"));
}

#[test]
fn names_cannot_write_on_the_terminal() {
    assert!(failure(b"\x80\x02cos.\x1b[31m\nsystem\n.").contains(r"os.\u{1b}[31m.system"));
    assert!(failure(format!("\x02cos.{}\nsystem\n.", "o".repeat(5000)).as_bytes()).len() < 1000);
}

#[test]
fn a_memo_bomb_is_never_unfolded() {
    // Each list holds the one before twice, 2^100 leaves in all; then the same with dicts under wrappers' names.
    let mut lists = Pickle::new().open_dict().text("epoch").raw(b"]q\0");
    for i in 0..100u8 {
        lists = lists.raw(&[b'0', b']', b'q', i + 1, b'h', i, b'a', b'h', i, b'a']);
    }
    let lists = lists.text("a").tensor("FloatStorage", "0", 1, 0, &[], &[]).close_dict();
    assert_eq!(read(&lists.stop()).unwrap().len(), 1);
    // A long list that is copied into many dicts.
    let mut copies = Pickle::new().raw(b"](").raw(&b"NN\x86".repeat(100_000)).raw(b"eq\0");
    for _ in 0..100 {
        copies = copies.global("collections", "OrderedDict").raw(b"h\0\x85R");
    }
    assert!(failure(&copies.stop()).contains("more than 4000000 items of dicts"));
    let mut dicts = Pickle::new().raw(b"}q\0");
    for i in 0..100u8 {
        dicts = dicts.raw(b"}").raw(&[b'q', i + 1]);
        for wrapper in WRAPPERS {
            dicts = dicts.text(wrapper).raw(&[b'h', i, b's']);
        }
    }
    assert!(failure(&dicts.stop()).contains("holds no tensors by name"));
    // A dict that holds itself.
    assert!(failure(b"\x80\x02}q\0X\x05\0\0\0modelh\0s.").contains("holds no tensors by name"));
}

#[test]
fn deep_nesting_ends() {
    let mut open = b"\x80\x02".to_vec();
    open.extend(vec![b'('; 5_000_000]);
    assert!(failure(&open).contains("more than 1000 open brackets"));
    let mut tuples = b"\x80\x02N".to_vec();
    tuples.extend(vec![0x85; 1_000_000]);
    tuples.push(b'.');
    assert!(failure(&tuples).contains("holds no tensors by name"));
}

#[test]
fn too_many_instructions_end() {
    let mut pickle = b"\x80\x02".to_vec();
    pickle.extend(b"N0".repeat(3_000_000));
    assert!(failure(&pickle).contains("more than 4000000 instructions"));
}

#[test]
fn sizes_that_lie_are_found() {
    assert!(failure(b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffab").contains("cut short"));
    assert!(failure(b"\x80\x02X\xff\xff\xff\xffab").contains("needs 4294967295 more bytes, and 2 are there"));
    assert!(failure(b"\x80\x02\x8b\xff\xff\xff\x7f").contains("cut short"));
    assert!(failure(b"\x80\x02cos").contains("cut short"));
    assert!(failure(b"").contains("cut short"));
    assert!(failure(b"\x80\x09.").contains("version 9"));
    let tensor = |numbers, offset, shape: &[i64], stride: &[i64]| {
        failure(
            &Pickle::new()
                .open_dict()
                .text("a")
                .tensor("FloatStorage", "0", numbers, offset, shape, stride)
                .close_dict()
                .stop(),
        )
    };
    assert!(tensor(6, 1, &[2, 3], &[3, 1]).contains("reaches beyond its storage of 6 numbers"));
    assert!(tensor(6, 0, &[2, 3], &[i64::MAX, 1]).contains("reaches beyond"));
    assert!(tensor(6, 0, &[i64::MAX, i64::MAX], &[0, 0]).contains("a shape that no tensor can have"));
    assert!(tensor(6, 0, &[-2], &[1]).contains("no sizes"));
    assert!(tensor(6, -1, &[2], &[1]).contains("begins before its storage"));
    assert!(tensor(6, 0, &[2], &[1, 1]).contains("a shape that no tensor can have"));
    assert!(tensor(-1, 0, &[2], &[1]).contains("name a storage"));
    assert!(tensor(1, 0, &[1; 33], &[1; 33]).contains("more than 32 axes"));
}

#[test]
fn a_stack_that_runs_empty_is_malformed() {
    for pickle in [
        &b"."[..],
        b"0",
        b"1",
        b"2",
        b"t",
        b"a",
        b"e",
        b"s",
        b"u",
        b"R",
        b"b",
        b"Q",
        b"q\0",
        b"h\0",
        b"\x87",
        b"\x93",
        b"\x90",
        b"(.",
        b"N(0",
        b"NNR.",
    ] {
        assert!(failure(pickle).contains("is damaged"), "{pickle:?}");
    }
    assert!(failure(b"\xfe").contains("instruction 0xfe at byte 0"));
}

#[test]
fn every_start_of_a_pickle_fails_by_itself() {
    let pickle =
        Pickle::new().open_dict().text("a").tensor("FloatStorage", "0", 6, 0, &[2, 3], &[3, 1]).close_dict().stop();
    for len in 0..pickle.len() {
        assert!(read(&pickle[..len]).is_err(), "{len}");
    }
}

#[test]
fn views_that_repeat_are_known() {
    let view = |shape: &[usize], stride: &[usize]| View {
        dtype: Dtype::F32,
        key: "0".into(),
        offset: 0,
        shape: shape.to_vec(),
        stride: stride.to_vec(),
    };
    assert!(view(&[2, 3], &[3, 1]).is_plain() && view(&[3, 2], &[1, 3]).is_plain());
    assert!(view(&[1, 3], &[0, 1]).is_plain() && view(&[2, 2, 2], &[1, 8, 2]).is_plain());
    assert!(view(&[0, 3], &[0, 0]).is_plain() && view(&[], &[]).is_plain());
    for stride in [[0, 1], [1, 1], [2, 1], [3, 0]] {
        assert!(!view(&[2, 3], &stride).is_plain(), "{stride:?}");
    }
    assert_eq!(view(&[3, 2], &[1, 3]).reach(), Some(6));
    assert_eq!(view(&[0, 2], &[1, 3]).reach(), Some(0));
    assert_eq!(view(&[], &[]).reach(), Some(1));
}
