// What tch lacks: fused AdamW, foreach norm and clip, dropping gradients, gradients known beforehand, draws from a
// generator of their own, opening libtorch's CUDA half; and one setting of the C allocator.
//
// Every function returns 0, or -1 after an exception, whose message med2e3_last_error() then gives to the same thread.
// Tensors come as pointers owned by the caller; `out` receives a new tensor that the caller owns.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/stack.h>
#include <dlfcn.h>
#include <malloc.h>
#include <torch/csrc/autograd/custom_function.h>

#include <climits>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

thread_local std::string last_error;

template <typename Body>
int guarded(Body body) {
    try {
        body();
        return 0;
    } catch (const std::exception& error) {
        last_error = error.what();
    } catch (...) {
        last_error = "unknown C++ exception";
    }
    return -1;
}

std::vector<at::Tensor> list(at::Tensor* const* tensors, size_t count) {
    std::vector<at::Tensor> result;
    result.reserve(count);
    for (size_t i = 0; i < count; ++i) result.push_back(*tensors[i]);
    return result;
}

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

const char* med2e3_last_error() { return last_error.c_str(); }

int med2e3_fused_adamw(at::Tensor* const* params, at::Tensor* const* grads, at::Tensor* const* exp_avgs,
                       at::Tensor* const* exp_avg_sqs, size_t count, at::Tensor* step, double lr, double beta1,
                       double beta2, double weight_decay, double eps) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        const std::vector<at::Tensor> steps(count, *step);
        at::_fused_adamw_(list(params, count), list(grads, count), list(exp_avgs, count), list(exp_avg_sqs, count),
                          /*max_exp_avg_sqs=*/{}, steps, lr, beta1, beta2, weight_decay, eps, /*amsgrad=*/false,
                          /*maximize=*/false);
    });
}

int med2e3_global_norm(at::Tensor* const* tensors, size_t count, at::Tensor** out) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        const auto norms = at::_foreach_norm(list(tensors, count), 2);
        *out = new at::Tensor(at::linalg_vector_norm(at::stack(norms), 2));
    });
}

int med2e3_foreach_mul(at::Tensor* const* tensors, size_t count, at::Tensor* factor) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        at::_foreach_mul_(list(tensors, count), *factor);
    });
}

int med2e3_drop_grads(at::Tensor* const* tensors, size_t count) {
    return guarded([&] {
        for (size_t i = 0; i < count; ++i) tensors[i]->mutable_grad().reset();
    });
}

int med2e3_fill_normal(at::Tensor* tensor, double std, uint64_t seed) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        tensor->normal_(0.0, std, at::make_generator<at::CPUGeneratorImpl>(seed));
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

int med2e3_keep_freed_memory() {
    return guarded([&] {
        if (!mallopt(M_MMAP_MAX, 0) || !mallopt(M_TRIM_THRESHOLD, INT_MAX)) {
            throw std::runtime_error("mallopt refused its settings");
        }
    });
}

int med2e3_open_cuda() {
    return guarded([&] {
        if (!dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL)) throw std::runtime_error(dlerror());
    });
}
}
