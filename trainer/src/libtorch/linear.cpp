// An affine map with a residual, by oneDNN where that is faster, and the gradients of its weights.

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <torch/csrc/autograd/graph_task.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "call.h"

using med2e3::guarded;

namespace {

using MaybeTensor = std::optional<at::Tensor>;

// Fewest rows for which oneDNN is called: few rows are bound by reading the matrix, and MKL has less to set up.
constexpr int64_t FEWEST_ROWS = 32;

bool fits_onednn(const at::Tensor& x, const at::Tensor& weight) {
    return x.device().is_cpu() && x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat &&
           x.numel() >= FEWEST_ROWS * x.size(-1) && at::globalContext().userEnabledMkldnn() && at::Context::hasMKLDNN();
}

// x W^T + b + residual in one pass by the operators that torch.compile emits; the matrix may be a transposed view.
at::Tensor onednn_linear(const at::Tensor& x, const at::Tensor& weight, const MaybeTensor& bias,
                         const MaybeTensor& residual) {
    using Scalars = c10::List<std::optional<at::Scalar>>;
    using Plain = at::Tensor(const at::Tensor&, const at::Tensor&, const MaybeTensor&, std::string_view, Scalars,
                             std::optional<std::string_view>);
    using Binary = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const MaybeTensor&,
                              std::string_view);
    if (residual) {
        static const auto op =
            c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "binary").typed<Binary>();
        return op.call(x, *residual, weight, bias, "add");
    }
    static const auto op =
        c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<Plain>();
    return op.call(x, weight, bias, "none", Scalars(), "");
}

MaybeTensor maybe(at::Tensor* tensor) { return tensor ? MaybeTensor(*tensor) : std::nullopt; }

// Whether a backward pass adds this weight's gradient to the sum that the weight holds already: it is a leaf with a sum in
// f32, and the pass is one that stores gradients, not one that was asked for those of some tensors.
bool has_sum(const at::Tensor& weight) {
    if (!weight.is_leaf() || !weight.requires_grad()) return false;
    const auto* asked = torch::autograd::get_current_graph_task_exec_info();
    if (asked && !asked->empty()) return false;
    const auto& sum = weight.grad();
    return sum.defined() && sum.scalar_type() == at::kFloat && sum.sizes() == weight.sizes();
}

// sum + grad^T x * factor, in f32 whatever the kind of grad (rows, out) and x (rows, in).
void add_product(at::Tensor& sum, const at::Tensor& grad, const at::Tensor& x, double factor) {
    if (x.scalar_type() == at::kFloat || x.device().is_cpu()) {
        // The CPU has no product of bf16 with a result in f32; the product of the same numbers in f32 is that one.
        at::addmm_out(sum, sum, grad.t().to(at::kFloat), x.to(at::kFloat), 1, factor);
    } else {
        at::addmm_out(sum, sum, grad.t(), x, at::kFloat, 1, factor);
    }
}

}  // namespace

extern "C" {

int med2e3_linear(at::Tensor* x, at::Tensor* weight, at::Tensor* bias, at::Tensor* residual, at::Tensor** out) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        if (fits_onednn(*x, *weight)) {
            *out = new at::Tensor(onednn_linear(*x, *weight, maybe(bias), maybe(residual)));
            return;
        }
        auto mapped = at::linear(*x, *weight, maybe(bias));
        *out = new at::Tensor(residual ? mapped.add_(*residual) : mapped);
    });
}

// grad^T x * factor, for grad (rows, out) and x (rows, in): added to the weight's sum, where `out` is left null, or returned.
int med2e3_weight_gradient(at::Tensor* weight, at::Tensor* grad, at::Tensor* x, double factor, at::Tensor** out) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        if (!has_sum(*weight)) {
            // MKL is as fast as oneDNN here, and reads both without transposing them.
            auto product = at::mm(grad->t(), *x);
            *out = new at::Tensor(factor == 1.0 ? product : product.mul_(factor));
            return;
        }
        add_product(weight->mutable_grad(), *grad, *x, factor);
    });
}

int med2e3_add_product(at::Tensor* sum, at::Tensor* grad, at::Tensor* x) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        add_product(*sum, *grad, *x, 1.0);
    });
}

// The f32 gradient `grad` of a weight times the scalar `factor`, as the above.
int med2e3_known_gradient(at::Tensor* weight, at::Tensor* grad, at::Tensor* factor, at::Tensor** out) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        if (has_sum(*weight)) {
            weight->mutable_grad().addcmul_(*grad, *factor);
        } else {
            *out = new at::Tensor(at::mul(*grad, *factor).to(weight->scalar_type()));
        }
    });
}

// The sum of grad (rows, out) over its rows, as the above.
int med2e3_bias_gradient(at::Tensor* bias, at::Tensor* grad, at::Tensor** out) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        if (has_sum(*bias)) {
            bias->mutable_grad().add_(grad->sum(0, /*keepdim=*/false, at::kFloat));
        } else {
            *out = new at::Tensor(grad->sum(0));
        }
    });
}
}
