// The norm of gradients, and gradients that are known in advance.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/stack.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdint>

#include "call.h"

using med2e3::guarded;
using med2e3::list;

namespace {

// A value whose gradients were computed together with it.
struct KnownGradients : torch::autograd::Function<KnownGradients> {
    static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& value, at::TensorList inputs,
                              at::TensorList grads) {
        context->saved_data["count"] = static_cast<int64_t>(inputs.size());
        context->save_for_backward(torch::autograd::variable_list(grads.begin(), grads.end()));
        return value.clone();
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   torch::autograd::variable_list behind) {
        const auto count = context->saved_data["count"].toInt();
        torch::autograd::variable_list result(1 + 2 * count);
        const auto grads = context->get_saved_variables();
        for (int64_t i = 0; i < count; ++i) {
            result[1 + i] = at::mul(grads[i], behind[0].to(grads[i].scalar_type()));
        }
        return result;
    }
};

}  // namespace

extern "C" {

int med2e3_global_norm(at::Tensor* const* tensors, size_t count, at::Tensor** out) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        const auto norms = at::_foreach_norm(list(tensors, count), 2);
        *out = new at::Tensor(at::linalg_vector_norm(at::stack(norms), 2));
    });
}

int med2e3_attach_gradients(at::Tensor* value, at::Tensor* const* inputs, at::Tensor* const* grads, size_t count,
                            at::Tensor** out) {
    return guarded([&] {
        const auto of = list(inputs, count), known = list(grads, count);
        *out = new at::Tensor(KnownGradients::apply(*value, at::TensorList(of), at::TensorList(known)));
    });
}

int med2e3_autograd_enabled() { return at::GradMode::is_enabled() ? 1 : 0; }
}
