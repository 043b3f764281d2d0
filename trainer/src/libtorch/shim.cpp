// What tch lacks: fused AdamW, foreach norm and clip, dropping gradients, gradients known beforehand, draws from a
// generator of their own, an affine map by oneDNN, opening libtorch's CUDA half; and one setting of the C allocator.
//
// Every function returns 0, or -1 after an exception, whose message med2e3_last_error() then gives to the same thread.
// Tensors come as pointers owned by the caller; `out` receives a new tensor that the caller owns.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/add.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/stack.h>
#include <dlfcn.h>
#include <malloc.h>
#include <torch/csrc/autograd/custom_function.h>

#include <climits>
#include <cstdint>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
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

using MaybeTensor = std::optional<at::Tensor>;

// Fewest rows for which oneDNN is asked: a few rows are bound by reading the matrix, and MKL has less to set up.
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
        // MKL is as fast as oneDNN here, and reads both without turning them around.
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
