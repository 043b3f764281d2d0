// Gradients that live in a buffer of the optimizer's.

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cstdint>

#include "call.h"

using med2e3::guarded;

extern "C" {

int med2e3_put_gradient(at::Tensor* weight, at::Tensor* values, at::Tensor** out) {
    return guarded([&] {
        TORCH_CHECK(weight->is_leaf() && weight->requires_grad(), "the weight is not trained");
        TORCH_CHECK(weight->sizes() == values->sizes() && weight->device() == values->device(),
                    "the gradient has another shape or device than its weight");
        // Same storage, a count of writes of its own. The setter of the C++ interface, unlike Python's, takes any kind.
        weight->mutable_grad() = values->variable_data();
        *out = new at::Tensor(weight->grad());
    });
}

int med2e3_gradient_writes(at::Tensor* weight, at::Tensor* gradient, int64_t* out) {
    return guarded([&] {
        TORCH_CHECK(weight->grad().is_same(*gradient), "its gradient is no longer the optimizer's own");
        *out = gradient->_version();
    });
}
}
