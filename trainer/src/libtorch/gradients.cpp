// The norm of gradients, and whether there will be any.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>

#include <cstdint>

#include "call.h"

using med2e3::guarded;
using med2e3::list;

extern "C" {

int med2e3_global_norm(at::Tensor* const* tensors, size_t count, at::Tensor** out) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        const auto norms = at::_foreach_norm(list(tensors, count), 2);
        *out = new at::Tensor(at::linalg_vector_norm(at::stack(norms), 2));
    });
}

int med2e3_autograd_enabled() { return at::GradMode::is_enabled() ? 1 : 0; }
}
