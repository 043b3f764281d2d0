//! SQL functions whose result is as long as a number says: refused before memory is asked for, which a process may not survive.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// Items of all rows of a batch at most: letters, or items of lists.
const MAX_ITEMS: i128 = 1 << 26;

/// The functions, and what their numbers mean.
const FUNCTIONS: [(&str, Length); 8] = [
    ("repeat", Length::Times),
    ("lpad", Length::Is),
    ("rpad", Length::Is),
    ("array_resize", Length::Is),
    ("array_repeat", Length::Is),
    ("range", Length::Steps),
    ("generate_series", Length::Steps),
    ("space", Length::Is),
];

/// How the arguments tell a result's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Length {
    /// The second one is it, or the only one.
    Is,
    /// The first one's text or list comes as often as the second says.
    Times,
    /// From the first to the second, by the third.
    Steps,
}

/// Puts the bounded functions in place of those of the same names.
pub(super) fn register(context: &SessionContext) {
    for (name, length) in FUNCTIONS {
        let Ok(inner) = context.udf(name) else { continue };
        context.register_udf(ScalarUDF::from(Bounded { inner, length }));
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    length: Length,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let items = self.items(&args)?;
        if items > MAX_ITEMS {
            return exec_err!(
                "{}: expected at most {MAX_ITEMS} letters or items in a batch, found {items}",
                self.name()
            );
        }
        self.inner.invoke_with_args(args)
    }
}

impl Bounded {
    /// Letters or items of the result.
    fn items(&self, args: &ScalarFunctionArgs) -> Result<i128> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let numbers = |argument: usize| -> Result<Vec<i128>> {
            let Some(value) = args.args.get(argument) else { return Ok(vec![1; rows]) };
            // Values of another type, such as dates, have no length here; the inner function says what it takes.
            let Ok(value) = value.cast_to(&DataType::Int64, None) else { return Ok(vec![1; rows]) };
            let array = value.to_array(rows)?;
            let array = array.as_primitive::<Int64Type>();
            Ok((0..rows).map(|row| if array.is_valid(row) { array.value(row).into() } else { 0 }).collect())
        };
        let sum = |items: Vec<i128>| items.into_iter().map(|items| items.max(0)).sum();
        match self.length {
            Length::Is => numbers(if args.args.len() == 1 { 0 } else { 1 }).map(sum),
            Length::Times => {
                let longest = match args.args[0].to_array(rows)?.data_type() {
                    DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                        let texts = args.args[0].cast_to(&DataType::LargeUtf8, None)?.to_array(rows)?;
                        let texts = texts.as_string::<i64>();
                        (0..rows).map(|row| texts.value_length(row).into()).collect()
                    }
                    _ => vec![1; rows],
                };
                let items = numbers(1)?.into_iter().zip(longest);
                Ok(sum(items.map(|(times, length): (i128, i128)| times.saturating_mul(length)).collect()))
            }
            Length::Steps => {
                let (start, stop) = match args.args.len() {
                    1 => (vec![0; rows], numbers(0)?),
                    _ => (numbers(0)?, numbers(1)?),
                };
                let step = numbers(2)?;
                let steps = (0..rows).map(|row| match step[row] {
                    0 => 0,
                    step => (stop[row] - start[row]) / step + 1,
                });
                Ok(sum(steps.collect()))
            }
        }
    }
}
