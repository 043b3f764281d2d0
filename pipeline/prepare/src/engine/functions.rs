//! SQL functions over a dataset's own columns.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray, UInt64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, UInt64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use med2e3_schemas::volume::VoxelFormat;

use crate::rank::rank;
use crate::show::cells::hex;

/// Every function, for a dataset with these voxels.
pub(super) fn all(format: &VoxelFormat) -> Vec<ScalarUDF> {
    let width = format.code.width();
    vec![
        ScalarUDF::from(Function::new("hex", DataType::Utf8, 1, Kind::Hex)),
        ScalarUDF::from(Function::new("foreground_fraction", DataType::Float64, 1, Kind::ForegroundFraction { width })),
        ScalarUDF::from(Function::new("draw", DataType::UInt64, 2, Kind::Draw)),
    ]
}

/// A function of one fixed-size binary column.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    returns: DataType,
    signature: Signature,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// `hex(id)`: the bytes as hex digits.
    Hex,
    /// `foreground_fraction(voxels)`: the share of voxels whose code is not 0.
    ForegroundFraction {
        /// Bytes of a code.
        width: usize,
    },
    /// `draw(id or text, seed)`: a pseudo-random rank, the same for the same id and seed on every machine.
    Draw,
}

impl Function {
    fn new(name: &'static str, returns: DataType, arguments: usize, kind: Kind) -> Function {
        Function {
            name,
            returns,
            signature: Signature::new(TypeSignature::Any(arguments), Volatility::Immutable),
            kind,
        }
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let cells = args.args[0].to_array(rows)?;
        let is_text = matches!(cells.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        if self.kind == Kind::Draw && is_text {
            // A text is the same text however the engine holds it.
            let texts = cast(&cells, &DataType::Utf8)?;
            let seed = seeds(&args, rows)?;
            let texts = texts.as_string::<i32>().iter();
            let ranks = texts.zip(seed.iter()).map(|(text, seed)| Some(rank(text?.as_bytes(), seed?)));
            return Ok(ColumnarValue::Array(Arc::new(ranks.collect::<UInt64Array>())));
        }
        let Some(cells) = cells.as_fixed_size_binary_opt() else {
            return exec_err!("{}: expected a fixed-size binary column, found {}", self.name, cells.data_type());
        };
        let result: ArrayRef = match self.kind {
            Kind::Hex => Arc::new(cells.iter().map(|cell| cell.map(hex)).collect::<StringArray>()),
            Kind::ForegroundFraction { width } => {
                Arc::new(cells.iter().map(|cell| cell.map(|cell| foreground(cell, width))).collect::<Float64Array>())
            }
            Kind::Draw => {
                let seeds = seeds(&args, rows)?;
                let ranks = cells.iter().zip(seeds.iter()).map(|(cell, seed)| Some(rank(cell?, seed?)));
                Arc::new(ranks.collect::<UInt64Array>())
            }
        };
        Ok(ColumnarValue::Array(result))
    }
}

fn seeds(args: &ScalarFunctionArgs, rows: usize) -> Result<UInt64Array> {
    Ok(args.args[1].cast_to(&DataType::UInt64, None)?.to_array(rows)?.as_primitive::<UInt64Type>().clone())
}

fn foreground(cell: &[u8], width: usize) -> f64 {
    let voxels = cell.len() / width;
    let above = cell.chunks_exact(width).filter(|code| code.iter().any(|&byte| byte != 0)).count();
    above as f64 / voxels.max(1) as f64
}
