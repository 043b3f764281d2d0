//! AdamW over buckets: against torch, in bf16 with either master, left out steps, weights without a gradient, resumption.

use std::collections::{BTreeMap, HashMap};

use med2e3_trainer::train::optimizer::{
    AdamW, AdamWConfig, AdamWState, Master, OptimizerError, Rates, Trained, combine,
};
use tch::{Device, Kind, Tensor};

use crate::golden_file::{Golden, assert_close};

type Named = Vec<(String, Tensor)>;

/// Leaves with these values.
fn leaves(values: &[(&str, Tensor)]) -> Named {
    let leaf = |(name, values): &(&str, Tensor)| ((*name).to_owned(), values.detach().copy().set_requires_grad(true));
    values.iter().map(leaf).collect()
}

fn shared(named: &Named) -> Named {
    named.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}

/// Adds a gradient to each weight, in its kind, as a backward pass does.
fn add_gradients<'a>(named: &Named, gradient: impl Fn(&str) -> Option<Tensor> + 'a) {
    for (name, tensor) in named {
        if let Some(gradient) = gradient(name) {
            (tensor * gradient.to_kind(tensor.kind())).sum(Kind::Float).backward();
        }
    }
}

/// Every bit of an optimizer and its weights: what a checkpoint holds.
fn everything(optimizer: &AdamW, named: &Named) -> Named {
    let weights = named.iter().map(|(name, tensor)| (format!("weight/{name}"), tensor.detach().copy()));
    weights.chain(optimizer.state().tensors.into_iter().map(|(name, tensor)| (name, tensor.copy()))).collect()
}

fn assert_same(what: &str, left: &Named, right: &Named) {
    assert_eq!(left.len(), right.len());
    for ((name, left), (other, right)) in left.iter().zip(right) {
        assert_eq!(name, other);
        assert!(left.kind() == right.kind() && left.equal(right), "{what}: {name}");
    }
}

/// The weights' f32 values.
fn values(optimizer: &AdamW, named: &Named) -> HashMap<String, Tensor> {
    let state: HashMap<String, Tensor> = optimizer.state().tensors.into_iter().collect();
    let value = |(name, tensor): &(String, Tensor)| {
        let remainder = state.get(&format!("remainder/{name}"));
        let value = remainder.map_or(tensor.detach().copy(), |remainder| combine(&tensor.detach(), remainder));
        (name.clone(), value)
    };
    named.iter().map(value).collect()
}

/// Rates, decays, clipping, a rate of 0 at the start; in bf16 four gradients a step, which are added in f32. The second
/// optimizer goes on from the first one's state after three steps.
#[test]
fn adamw_equals_torch_and_resumes_exactly() {
    let golden = Golden::open("adamw");
    let (rates, decays): (BTreeMap<String, f64>, BTreeMap<String, f64>) =
        (golden.config("rates"), golden.config("decays"));
    let learning_rates: Vec<f64> = golden.config("learning_rates");
    let cases = [
        ("f32", Kind::Float, Master::Split),
        ("bf16", Kind::BFloat16, Master::Split),
        ("bf16", Kind::BFloat16, Master::Full),
    ];
    for (case, kind, master) in cases {
        let named: Vec<(&str, Tensor)> =
            rates.keys().map(|name| (name.as_str(), golden.get(&format!("{case}.{name}.0")))).collect();
        let optimizer_of = |named: &Named| {
            let trained = shared(named).into_iter().map(|(name, tensor)| {
                let (rate, decay) = (rates[&name], decays[&name]);
                Trained { name, tensor, kind, rate, decay }
            });
            AdamW::new(trained.collect(), AdamWConfig { clip: Some(1.0), master, ..AdamWConfig::default() }).unwrap()
        };
        let step = |optimizer: &mut AdamW, named: &Named, number: usize| {
            optimizer.zero_grad().unwrap();
            for part in 0..4 {
                let name_of = |name: &str| format!("{case}.{name}_grad.{number}.{part}");
                add_gradients(named, |name| golden.has(&name_of(name)).then(|| golden.get(&name_of(name))));
            }
            let scalars = optimizer.step(learning_rates[number - 1]).unwrap();
            assert_close("norm", &scalars.norm, &golden.get(&format!("{case}.norm.{number}")), 1e-6);
            assert_eq!(scalars.skipped.double_value(&[]), 0.0);
            for (name, value) in values(optimizer, named) {
                assert_close(&name, &value, &golden.get(&format!("{case}.{name}.{number}")), 1e-6);
            }
        };
        let first = leaves(&named);
        let mut optimizer = optimizer_of(&first);
        // Nothing of the f32 weights is lost.
        let start = values(&optimizer, &first);
        assert!(named.iter().all(|(name, value)| start[*name].equal(value)), "{case}");
        assert!(first.iter().all(|(_, tensor)| tensor.kind() == kind && tensor.grad().kind() == Kind::Float));
        (1..=3).for_each(|number| step(&mut optimizer, &first, number));

        // As a checkpoint has them: the weights in their kind, and the state.
        let kept: Vec<(&str, Tensor)> = first.iter().map(|(name, tensor)| (name.as_str(), tensor.copy())).collect();
        let second = leaves(&kept);
        let mut resumed = optimizer_of(&second);
        resumed.load_state(&AdamWState { updates: 3, tensors: everything(&optimizer, &Vec::new()) }).unwrap();
        for (optimizer, named) in [(&mut optimizer, &first), (&mut resumed, &second)] {
            (4..=6).for_each(|number| step(optimizer, named, number));
            for (name, moment) in optimizer.state().tensors.iter().filter(|(name, _)| !name.starts_with("remainder/")) {
                assert_close(name, moment, &golden.get(&format!("{case}.{name}")), 1e-6);
            }
        }
        assert_same(case, &everything(&optimizer, &first), &everything(&resumed, &second));
        assert_eq!((optimizer.updates(), resumed.updates()), (6, 6));
    }
}

/// Weights of several blocks, more than are updated at once, trained in bf16.
fn bf16(master: Master) -> (Named, AdamW) {
    tch::manual_seed(5);
    let normal = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.02;
    let values =
        [("a.0.x", normal(&[401, 333])), ("a.0.y", normal(&[77])), ("a.1.x", normal(&[3, 50])), ("b", normal(&[9]))];
    let named = leaves(&values);
    let trained =
        Trained::all(shared(&named), Kind::BFloat16, Rates { weight_decay: 0.1, full_rate_inputs: Some(100) });
    let config = AdamWConfig { clip: Some(1.0), master, ..AdamWConfig::default() };
    (named, AdamW::new(trained, config).unwrap())
}

#[test]
fn a_thousand_steps_with_a_split_master_equal_those_with_a_full_one() {
    let (split, mut of_split) = bf16(Master::Split);
    let (full, mut of_full) = bf16(Master::Full);
    let start = values(&of_split, &split);
    for step in 0..1000 {
        of_split.zero_grad().unwrap();
        of_full.zero_grad().unwrap();
        for ((name, left), (_, right)) in split.iter().zip(&full) {
            // Some steps know nothing of one weight, some have gradients that are no numbers.
            if step % 7 == 3 && name == "a.0.y" {
                continue;
            }
            let gradient = left.randn_like() * if step % 100 == 50 { f64::NAN } else { 0.01 };
            for weight in [left, right] {
                (weight * &gradient).sum(Kind::Float).backward();
            }
        }
        let rate = 1e-4 * (1.0 + f64::from(step % 10));
        for optimizer in [&mut of_split, &mut of_full] {
            optimizer.step(rate).unwrap();
        }
        if step % 100 == 99 {
            assert_same(&format!("step {step}"), &everything(&of_split, &split), &everything(&of_full, &full));
        }
    }
    assert_eq!((of_split.updates(), of_full.updates()), (990, 990));
    let end = values(&of_split, &split);
    assert!(start.iter().all(|(name, value)| value.ne_tensor(&end[name]).all().int64_value(&[]) == 1));
}

/// At a rate of 5e-5 and with weights of the usual size, most updates are smaller than half a step between bf16 numbers.
#[test]
fn what_a_bf16_weight_would_lose_its_master_keeps() {
    let float = |tensor: &Tensor| tensor.to_kind(Kind::Float);
    let share = |holds: Tensor| holds.to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
    let start = float(&(Tensor::randn([1 << 16], (Kind::Float, Device::Cpu)) * 0.02).to_kind(Kind::BFloat16));
    let optimizer_of = |named: &Named| {
        AdamW::new(Trained::all(shared(named), Kind::BFloat16, Rates::default()), AdamWConfig::default()).unwrap()
    };
    let step = |optimizer: &mut AdamW, named: &Named, gradient: &Tensor| {
        let before = values(optimizer, named).remove("x").unwrap();
        add_gradients(named, |_| Some(gradient.shallow_clone()));
        optimizer.step(5e-5).unwrap();
        optimizer.zero_grad().unwrap();
        let update = values(optimizer, named).remove("x").unwrap() - before;
        // What the update would leave of a weight that is bf16 alone.
        let lost = share(float(&(&start + &update).to_kind(Kind::BFloat16)).eq_tensor(&start));
        (update, lost)
    };
    // Gradients that are noise: the first step of Adam moves by the rate, later ones by less.
    let named = leaves(&[("x", start.shallow_clone())]);
    let mut optimizer = optimizer_of(&named);
    for expected in [0.42..0.45, 0.56..0.60, 0.64..0.67] {
        let (update, lost) = step(&mut optimizer, &named, &start.randn_like());
        assert!(expected.contains(&lost), "{lost}");
        assert!(share(update.ne(0.0)) > 0.999);
    }
    // Gradients that agree: eighty steps go eighty times as far, as far as a weight's whole size.
    let named = leaves(&[("x", start.shallow_clone())]);
    let mut optimizer = optimizer_of(&named);
    (0..80).for_each(|_| drop(step(&mut optimizer, &named, &start.ones_like())));
    let moved = &start - &values(&optimizer, &named)["x"];
    assert!(share(moved.gt(3.98e-3).logical_and(&moved.lt(4.02e-3))) > 0.999);
    assert!(share(float(&named[0].1.detach()).eq_tensor(&start)) < 0.01);
}

#[test]
fn a_step_that_is_not_finite_changes_nothing() {
    for (kind, master) in
        [(Kind::Float, Master::Split), (Kind::BFloat16, Master::Split), (Kind::BFloat16, Master::Full)]
    {
        for clip in [None, Some(1.0)] {
            // What comes after a step that was left out is as if that had not been.
            let [with, without] = [true, false].map(|is_disturbed| {
                let values =
                    [("x.0.a", Tensor::from_slice(&[0.5f32, -1.25, 3.0])), ("x.1.a", Tensor::from_slice(&[0.1f32]))];
                let named = leaves(&values);
                let rates = Rates { weight_decay: 0.1, ..Rates::default() };
                let config = AdamWConfig { clip, master, ..AdamWConfig::default() };
                let mut optimizer = AdamW::new(Trained::all(shared(&named), kind, rates), config).unwrap();
                for (step, bad) in
                    [None, Some(f64::INFINITY), Some(f64::NAN), Some(f64::NEG_INFINITY), None].iter().enumerate()
                {
                    if bad.is_some() && !is_disturbed {
                        continue;
                    }
                    let before = everything(&optimizer, &named);
                    optimizer.zero_grad().unwrap();
                    // One element of one bucket.
                    add_gradients(&named, |name| {
                        let gradient =
                            if name == "x.0.a" { vec![0.5f32, 0.25, -1.0] } else { vec![bad.unwrap_or(2.0) as f32] };
                        Some(Tensor::from_slice(&gradient))
                    });
                    let scalars = optimizer.step(0.01).unwrap();
                    assert_eq!(scalars.skipped.double_value(&[]) == 1.0, bad.is_some(), "{step}");
                    assert_eq!(scalars.norm.double_value(&[]).is_finite(), bad.is_none());
                    let after = everything(&optimizer, &named);
                    let is_same = before.iter().zip(&after).all(|((_, before), (_, after))| before.equal(after));
                    assert_eq!(is_same, bad.is_some(), "{step}");
                }
                assert_eq!(optimizer.updates(), 2);
                everything(&optimizer, &named)
            });
            assert_same("after it", &with, &without);
        }
    }
}

/// The weights in the middle of a bucket, and a whole bucket, get none.
#[test]
fn a_weight_without_a_gradient_stays_as_it_is() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let ones = |length: i64| Tensor::ones([length], (Kind::Float, Device::Cpu));
        let named = leaves(&[("x.0.a", ones(70)), ("x.0.b", ones(3)), ("x.0.c", ones(64)), ("x.1.a", ones(1))]);
        let trained = |rate| {
            let trained = |(name, tensor)| Trained { name, tensor, kind, rate, decay: 0.5 };
            shared(&named).into_iter().map(trained).collect::<Vec<_>>()
        };
        let mut optimizer = AdamW::new(trained(1.0), AdamWConfig::default()).unwrap();
        let changed = |before: &Named, after: &Named| {
            let differs = |((name, before), (_, after)): (&(String, Tensor), &(String, Tensor))| {
                (!before.equal(after)).then(|| name.clone())
            };
            before
                .iter()
                .zip(after)
                .filter_map(differs)
                .filter(|name| !name.starts_with("remainder/"))
                .collect::<Vec<_>>()
        };
        add_gradients(&named, |name| Some(ones(named.iter().find(|(own, _)| own == name).unwrap().1.numel() as i64)));
        optimizer.step(0.01).unwrap();
        optimizer.zero_grad().unwrap();
        let before = everything(&optimizer, &named);
        add_gradients(&named, |name| (name == "x.0.a").then(|| ones(70)));
        // Zeros that were added are a gradient: moments decay, and the weight moves by them.
        add_gradients(&named, |name| (name == "x.0.c").then(|| ones(64) * 0.0));
        optimizer.step(0.01).unwrap();
        let after = everything(&optimizer, &named);
        let expected =
            ["weight/x.0.a", "weight/x.0.c", "exp_avg/x.0.a", "exp_avg_sq/x.0.a", "exp_avg/x.0.c", "exp_avg_sq/x.0.c"];
        assert_eq!(changed(&before, &after), expected);
        assert_eq!(optimizer.updates(), 2);
    }
}

#[test]
fn a_state_of_other_weights_is_an_error_that_names_them() {
    let ones = || Tensor::ones([2, 3], (Kind::Float, Device::Cpu));
    let optimizer = |kind| {
        let trained = Trained::all(leaves(&[("x", ones())]), kind, Rates::default());
        AdamW::new(trained, AdamWConfig::default()).unwrap()
    };
    let state = |kind| optimizer(kind).state().tensors;
    let load = |kind, tensors: Named| {
        optimizer(kind).load_state(&AdamWState { updates: 1, tensors }).err().map(|error| error.to_string())
    };
    assert_eq!(load(Kind::Float, state(Kind::Float)), None);
    assert_eq!(load(Kind::BFloat16, state(Kind::BFloat16)), None);
    let said = load(Kind::Float, state(Kind::BFloat16)).unwrap();
    assert_eq!(said, "optimizer state remainder/x: expected nothing, found i16 [2, 3]");
    let said = load(Kind::BFloat16, state(Kind::Float)).unwrap();
    assert_eq!(said, "optimizer state remainder/x: expected i16 [2, 3], found nothing");
    let misshapen = vec![("exp_avg/x".to_owned(), Tensor::zeros([3, 2], (Kind::Float, Device::Cpu)))];
    let said = load(Kind::Float, misshapen).unwrap();
    assert_eq!(said, "optimizer state exp_avg/x: expected f32 [2, 3], found f32 [3, 2]");
    let frozen = vec![("x".to_owned(), ones())];
    let refused = AdamW::new(Trained::all(frozen, Kind::Float, Rates::default()), AdamWConfig::default());
    assert!(matches!(refused.err(), Some(OptimizerError::Gradient { name, .. }) if name == "x"));
    assert!(AdamW::new(Vec::new(), AdamWConfig::default()).is_err());
}
