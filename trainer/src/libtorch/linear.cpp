// An affine map with a residual, by oneDNN where that is faster.

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <torch/csrc/autograd/custom_function.h>

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

struct OnednnLinear : torch::autograd::Function<OnednnLinear> {
    static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                              const MaybeTensor& bias, const MaybeTensor& residual) {
        at::AutoDispatchBelowADInplaceOrView below;
        context->save_for_backward({x, weight});
        context->saved_data["has_bias"] = bias.has_value();
        context->saved_data["has_residual"] = residual.has_value();
        return onednn_linear(x, weight, bias, residual);
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   torch::autograd::variable_list behind) {
        at::NoGradGuard no_grad;
        const auto saved = context->get_saved_variables();
        const auto &x = saved[0], &weight = saved[1];
        const auto grad = behind[0].reshape({-1, weight.size(0)}).contiguous();
        torch::autograd::variable_list result(4);
        if (context->needs_input_grad(0)) {
            result[0] = onednn_linear(grad, weight.t(), {}, {}).view(x.sizes());
        }
        // MKL is as fast as oneDNN here, and reads both without transposing them.
        if (context->needs_input_grad(1)) result[1] = at::mm(grad.t(), x.reshape({-1, weight.size(1)}));
        // Absent inputs are not counted.
        const bool has_bias = context->saved_data["has_bias"].toBool();
        if (has_bias && context->needs_input_grad(2)) result[2] = grad.sum(0);
        if (context->saved_data["has_residual"].toBool() && context->needs_input_grad(has_bias ? 3 : 2)) {
            result[3] = behind[0];
        }
        return result;
    }
};

MaybeTensor maybe(at::Tensor* tensor) { return tensor ? MaybeTensor(*tensor) : std::nullopt; }

}  // namespace

extern "C" {

int med2e3_linear(at::Tensor* x, at::Tensor* weight, at::Tensor* bias, at::Tensor* residual, at::Tensor** out) {
    return guarded([&] {
        if (fits_onednn(*x, *weight)) {
            *out = new at::Tensor(OnednnLinear::apply(*x, *weight, maybe(bias), maybe(residual)));
            return;
        }
        const auto mapped = at::linear(*x, *weight, maybe(bias));
        *out = new at::Tensor(residual ? at::add(mapped, *residual) : mapped);
    });
}
}
