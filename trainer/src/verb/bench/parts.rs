//! `med2e3 bench parts`: attention, products and copies of the model's shapes alone, and the rates of a device that follow.

use med2e3_program::Stopwatch;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use super::sizes::Sizes;
use super::step::in_words;
use crate::TrainerError;
use crate::config::{Attention as Attends, ComputeConfig};
use crate::device::DeviceChoice;
use crate::device::wait;
use crate::plan::profile::{DeviceProfile, Reached};
use crate::precision::Precision;
use crate::train::profile_of;
use crate::words::Word;

/// Seconds that each is measured for, at least.
const ENOUGH: f64 = 0.25;
const MOST_ROUNDS: usize = 200;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct BenchParts {
    /// Where it runs.
    pub device: DeviceChoice,
    /// Threads of one operation on the CPU; 0 leaves libtorch's choice.
    pub threads: usize,
    /// Whose shapes.
    pub sizes: Sizes,
    /// The kind of numbers.
    pub precision: Precision,
}

/// One measured shape.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// What, with its shape.
    pub name: String,
    /// Of one call.
    pub seconds: f64,
    /// FLOPs, or bytes, of a second.
    pub rate: f64,
}

/// All of them, and the profile that follows.
#[derive(Debug, Serialize)]
pub struct PartsReport {
    /// The device.
    pub device: String,
    /// Forward pass of attention.
    pub attention_forward: Vec<Part>,
    /// Its backward pass, by two and a half times the FLOPs.
    pub attention_backward: Vec<Part>,
    /// Products.
    pub products: Vec<Part>,
    /// Bytes that are moved.
    pub moves: Vec<Part>,
    /// What `med2e3 plan --profile` takes.
    pub profile: DeviceProfile,
}

impl PartsReport {
    /// As a table for a person.
    pub fn table(&self) -> String {
        let mut text = format!("{:<70}{:>12}{:>14}\n", format!("on {}", self.device), "ms", "a second");
        let mut add = |parts: &[Part], unit: &str, of: f64| {
            for Part { name, seconds, rate } in parts {
                text += &format!("{name:<70}{:>12.3}{:>10.2} {unit}\n", 1e3 * seconds, rate / of);
            }
        };
        add(&self.attention_forward, "TFLOP", 1e12);
        add(&self.attention_backward, "TFLOP", 1e12);
        add(&self.products, "TFLOP", 1e12);
        add(&self.moves, "GB", 1e9);
        text
    }
}

/// Measures.
///
/// # Errors
/// No such device.
pub fn bench_parts(asked: &BenchParts) -> Result<PartsReport, TrainerError> {
    let device = asked.device.open(asked.threads)?;
    // Before anything is measured: what libtorch keeps of it for later counts as taken.
    let estimated = profile_of(device);
    let (kind, shapes) = (asked.precision.kind(), Shapes::of(asked.sizes));
    let options = (kind, device);
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    // libtorch's own choice is what steps use, and comes first.
    let mut ways = vec![Attends::Auto];
    if device.is_cuda() && asked.precision == Precision::Bf16 {
        ways.extend([Attends::Flash, Attends::Cudnn]);
    }
    for way in &ways {
        ComputeConfig { precision: asked.precision, attention: *way, ..ComputeConfig::default() }.apply(device)?;
        for shape in &shapes.attention {
            let (ahead, back) = attention(shape, *way, options);
            forward.push(ahead);
            backward.push(back);
        }
    }
    ComputeConfig::default().apply(device)?;
    let products: Vec<Part> = shapes.products.iter().map(|shape| product(shape, options)).collect();
    let moves = vec![elementwise(&shapes, options), copy(&shapes, device)];

    let peak = |precision: Precision| match (device, precision == asked.precision) {
        // Nobody states a processor's: the best product is it.
        (Device::Cpu, true) => products.iter().map(|part| part.rate).fold(0.0, f64::max),
        _ => estimated.peak(precision),
    };
    let of_module = |module: Module| {
        let rates = shapes.products.iter().zip(&products).filter(|(shape, _)| shape.module == module);
        let (flops, seconds) =
            rates.fold((0.0, 0.0), |(flops, seconds), (shape, part)| (flops + shape.flops(), seconds + part.seconds));
        flops / seconds / peak(asked.precision)
    };
    let of_all = |parts: &[Part]| {
        let (work, seconds) = parts
            .iter()
            .fold((0.0, 0.0), |(work, seconds), part| (work + part.rate * part.seconds, seconds + part.seconds));
        work / seconds
    };
    let profile = DeviceProfile {
        name: format!("{} (measured; the peak and the memory are those of: {})", in_words(device), estimated.name),
        memory: estimated.memory,
        peak_bf16: peak(Precision::Bf16),
        peak_f32: peak(Precision::F32),
        reached: Reached {
            llm: of_module(Module::Llm),
            vision2d: of_module(Module::Vision2d),
            vision3d: of_module(Module::Vision3d),
            connector: of_module(Module::Connector),
        },
        attention_forward: of_all(&forward[..shapes.attention.len()]),
        attention_backward: of_all(&backward[..shapes.attention.len()]),
        bandwidth: moves[0].rate,
        copy: moves[1].rate,
        fused_norms: estimated.fused_norms,
        overhead: estimated.overhead,
    };
    Ok(PartsReport {
        device: in_words(device),
        attention_forward: forward,
        attention_backward: backward,
        products,
        moves,
        profile,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Module {
    Llm,
    Vision2d,
    Vision3d,
    Connector,
}

impl Module {
    fn name(self) -> &'static str {
        match self {
            Module::Llm => "llm",
            Module::Vision2d => "vision2d",
            Module::Vision3d => "vision3d",
            Module::Connector => "connector",
        }
    }
}

struct Attention {
    module: Module,
    rows: i64,
    tokens: i64,
    heads: i64,
    width: i64,
    is_causal: bool,
}

impl Attention {
    fn flops(&self) -> f64 {
        let pairs =
            (self.rows * self.heads * self.tokens * self.tokens) as f64 * if self.is_causal { 0.5 } else { 1.0 };
        4.0 * pairs * self.width as f64
    }
}

struct Product {
    module: Module,
    name: &'static str,
    rows: i64,
    input: i64,
    output: i64,
}

impl Product {
    fn flops(&self) -> f64 {
        2.0 * self.rows as f64 * self.input as f64 * self.output as f64
    }
}

/// What a step of a model consists of.
struct Shapes {
    attention: [Attention; 3],
    products: Vec<Product>,
    /// Elements of what is moved.
    elements: i64,
    /// Bytes of a copied volume.
    bytes: i64,
}

impl Shapes {
    fn of(sizes: Sizes) -> Shapes {
        let config = sizes.config();
        let (llm, two, three) = (&config.llm, &config.vision2d, &config.vision3d);
        let text = config.visual_token_count() + 112 / sizes.shorter() as i64;
        let (slices, patches, tokens3d) = (config.slice_count(), two.token_count(), three.token_count() + 1);
        let attention = [
            Attention {
                module: Module::Llm,
                rows: 4,
                tokens: text,
                heads: llm.num_attention_heads,
                width: llm.head_width(),
                is_causal: true,
            },
            Attention {
                module: Module::Vision2d,
                rows: 2 * slices,
                tokens: patches,
                heads: two.num_attention_heads,
                width: two.hidden_size / two.num_attention_heads,
                is_causal: false,
            },
            Attention {
                module: Module::Vision3d,
                rows: 2,
                tokens: tokens3d,
                heads: three.num_heads,
                width: three.hidden_size / three.num_heads,
                is_causal: false,
            },
        ];
        let (wide, inner) = (llm.hidden_size, llm.intermediate_size);
        let product = |module, name, rows, input, output| Product { module, name, rows, input, output };
        let seen = 2 * slices * patches;
        let products = vec![
            product(Module::Llm, "queries, keys, values", 4 * text, wide, 3 * wide),
            product(Module::Llm, "out", 4 * text, wide, wide),
            product(Module::Llm, "gate and up", 4 * text, wide, 2 * inner),
            product(Module::Llm, "down", 4 * text, inner, wide),
            product(Module::Vision2d, "queries", seen, two.hidden_size, two.hidden_size),
            product(Module::Vision2d, "up", seen, two.hidden_size, two.intermediate_size),
            product(Module::Vision2d, "down", seen, two.intermediate_size, two.hidden_size),
            product(Module::Vision3d, "queries, keys, values", 2 * tokens3d, three.hidden_size, 3 * three.hidden_size),
            product(Module::Vision3d, "up", 2 * tokens3d, three.hidden_size, three.mlp_dim),
            product(Module::Connector, "first map", seen, two.hidden_size, wide),
        ];
        let bytes = three.img_size.iter().product::<i64>();
        Shapes { attention, products, elements: seen * wide, bytes }
    }
}

/// Seconds of one call: the median of as many as fit into some time.
fn seconds(device: Device, mut call: impl FnMut()) -> f64 {
    call();
    wait(device);
    let (whole, mut found) = (Stopwatch::start(), Vec::new());
    while found.is_empty() || (whole.seconds() < ENOUGH && found.len() < MOST_ROUNDS) {
        let watch = Stopwatch::start();
        call();
        wait(device);
        found.push(watch.seconds());
    }
    found.sort_by(f64::total_cmp);
    found[found.len() / 2].max(1e-9)
}

fn attention(shape: &Attention, way: Attends, options: (Kind, Device)) -> (Part, Part) {
    let size = [shape.rows, shape.heads, shape.tokens, shape.width];
    let leaf = || Tensor::randn(size, options).set_requires_grad(true);
    let [q, k, v] = [leaf(), leaf(), leaf()];
    let attend =
        || Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, shape.is_causal, None, false);
    let ahead = seconds(options.1, || drop(attend()));
    let grad = Tensor::randn(size, options);
    let both = seconds(options.1, || {
        let product = (attend() * &grad).sum(Kind::Float);
        drop(Tensor::run_backward(&[product], &[&q, &k, &v], false, false));
    });
    let back = (both - ahead).max(1e-9);
    let causal = if shape.is_causal { ", causal" } else { "" };
    let name = format!(
        "attention ({}) of {}: {} x {} heads of {} x {}{causal}",
        way.as_str(),
        shape.module.name(),
        shape.rows,
        shape.heads,
        shape.width,
        shape.tokens
    );
    let part = |what: &str, seconds: f64, times: f64| Part {
        name: format!("{name}{what}"),
        seconds,
        rate: times * shape.flops() / seconds,
    };
    (part("", ahead, 1.0), part(", backward", back, 2.5))
}

fn product(shape: &Product, options: (Kind, Device)) -> Part {
    let x = Tensor::randn([shape.rows, shape.input], options);
    let weight = Tensor::randn([shape.output, shape.input], options);
    let seconds = seconds(options.1, || drop(x.linear(&weight, None::<&Tensor>)));
    let Product { module, name, rows, input, output } = shape;
    let name = format!("product of {}, {name}: {rows} x {input} x {output}", module.name());
    Part { name, seconds, rate: shape.flops() / seconds }
}

/// One number read, one written.
fn elementwise(shapes: &Shapes, options: (Kind, Device)) -> Part {
    let x = Tensor::ones([shapes.elements], options);
    let seconds = seconds(options.1, || drop(&x * 2.0));
    let bytes = 2.0 * (shapes.elements * x.kind().elt_size_in_bytes() as i64) as f64;
    Part { name: format!("elementwise: {} numbers", shapes.elements), seconds, rate: bytes / seconds }
}

/// Volumes from the host; pinned where the device is a GPU.
fn copy(shapes: &Shapes, device: Device) -> Part {
    let bytes = 16 * shapes.bytes;
    let mut codes = Tensor::zeros([bytes], (Kind::Uint8, Device::Cpu));
    if device.is_cuda() {
        codes = codes.pin_memory(device);
    }
    let mut there = Tensor::zeros([bytes], (Kind::Uint8, device));
    let seconds = seconds(device, || there.copy_(&codes));
    Part { name: format!("copy of 16 volumes to the device: {bytes} bytes"), seconds, rate: bytes as f64 / seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_profile_plans_a_step() {
        let asked = BenchParts { device: DeviceChoice::Cpu, threads: 0, sizes: Sizes::Tiny, precision: Precision::F32 };
        let report = bench_parts(&asked).unwrap();
        assert_eq!((report.attention_forward.len(), report.attention_backward.len()), (3, 3));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parts.json");
        std::fs::write(&path, serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(DeviceProfile::read(&path).unwrap().name, report.profile.name);
        assert!(report.profile.reached.llm <= 1.0 && report.table().lines().count() == 19);
    }

    #[test]
    fn shapes_are_those_of_the_published_model() {
        let shapes = Shapes::of(Sizes::Published);
        let of = |place: usize| (shapes.attention[place].width, shapes.attention[place].tokens);
        assert_eq!([of(0), of(1), of(2)], [(96, 624), (64, 256), (64, 2049)]);
    }
}
