// AdamW over all parameters in one call.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>

#include <optional>

#include "call.h"

using med2e3::guarded;
using med2e3::list;

namespace {

std::optional<at::Tensor> maybe(at::Tensor* tensor) { return tensor ? std::optional(*tensor) : std::nullopt; }

}  // namespace

extern "C" {

int med2e3_fused_adamw(at::Tensor* const* params, at::Tensor* const* grads, at::Tensor* const* exp_avgs,
                       at::Tensor* const* exp_avg_sqs, size_t count, at::Tensor* step, at::Tensor* grad_scale,
                       at::Tensor* found_inf, double lr, double beta1, double beta2, double weight_decay, double eps) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        const std::vector<at::Tensor> steps(count, *step);
        at::_fused_adamw_(list(params, count), list(grads, count), list(exp_avgs, count), list(exp_avg_sqs, count),
                          /*max_exp_avg_sqs=*/{}, steps, lr, beta1, beta2, weight_decay, eps, /*amsgrad=*/false,
                          /*maximize=*/false, maybe(grad_scale), maybe(found_inf));
    });
}
}
