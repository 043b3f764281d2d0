//! Times the optimizer's update on the CPU and prints nanoseconds a weight; `tests/peers/train_run.py` runs torch's fused AdamW beside
//! it.
//!
//! Usage: `update_time f32|bf16 THREADS`.

use anyhow::{Result, bail};
use med2e3_program::Stopwatch;
use med2e3_trainer::device::DeviceChoice;
use med2e3_trainer::train::optimizer::{AdamW, AdamWConfig, Rates, Trained};
use tch::{Kind, Tensor};

/// Matrices, and the sides of each.
const MATRICES: usize = 12;
const SIDE: i64 = 1024;
const UPDATES: usize = 11;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (kind, threads) = match words.as_slice() {
        ["f32", threads] => (Kind::Float, threads.parse()?),
        ["bf16", threads] => (Kind::BFloat16, threads.parse()?),
        _ => bail!("usage: update_time f32|bf16 THREADS"),
    };
    let device = DeviceChoice::Cpu.open(threads)?;
    let weight = |place: usize| {
        let values = Tensor::randn([SIDE, SIDE], (Kind::Float, device)) * 0.02;
        (format!("llm/model.layers.{place}.weight"), values.set_requires_grad(true))
    };
    let named: Vec<(String, Tensor)> = (0..MATRICES).map(weight).collect();
    let own = named.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
    let mut optimizer = AdamW::new(Trained::all(own, kind, Rates::default()), AdamWConfig::default())?;
    for (_, tensor) in &named {
        (tensor * 0.001).sum(Kind::Float).backward();
    }
    let mut seconds = Vec::with_capacity(UPDATES);
    for _ in 0..UPDATES {
        let watch = Stopwatch::start();
        optimizer.step(1e-5)?;
        seconds.push(watch.seconds());
    }
    seconds.sort_by(f64::total_cmp);
    println!("{}", 1e9 * seconds[UPDATES / 2] / (MATRICES as f64 * (SIDE * SIDE) as f64));
    Ok(())
}
