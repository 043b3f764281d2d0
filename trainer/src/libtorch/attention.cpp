// Fused attention whose graph is made apart from its value.

#include <ATen/SDPBackend.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_sdp_choice.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/zeros_like.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <tuple>

#include "call.h"

using med2e3::guarded;

namespace {

using MaybeTensor = std::optional<at::Tensor>;

// As the Rust side numbers them.
enum Kernel : int64_t { NONE = 0, CPU_FLASH = 1, CUDA_FLASH = 2, CUDNN = 3 };

// The kernel that libtorch's own attention would take, where it is one whose gradients can be computed apart. A mask leaves
// none on CUDA, and CUDA's flash attention pads heads that are no multiple of 8.
Kernel kernel_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const MaybeTensor& mask, bool is_causal,
                 bool is_grouped) {
    const auto choice =
        static_cast<at::SDPBackend>(at::_fused_sdp_choice(q, k, v, mask, 0.0, is_causal, std::nullopt, is_grouped));
    if (q.device().is_cpu()) return choice == at::SDPBackend::flash_attention ? CPU_FLASH : NONE;
    if (!q.device().is_cuda() || mask) return NONE;
    if (choice == at::SDPBackend::cudnn_attention) return CUDNN;
    return choice == at::SDPBackend::flash_attention && q.size(-1) % 8 == 0 ? CUDA_FLASH : NONE;
}

// What is added to the products: 0 where a bool mask is true, else minus infinity.
MaybeTensor added(const MaybeTensor& mask, at::ScalarType kind) {
    if (!mask || mask->scalar_type() != at::kBool) return mask;
    return at::zeros_like(*mask, kind).masked_fill_(mask->logical_not(), -std::numeric_limits<double>::infinity());
}

MaybeTensor maybe(at::Tensor* tensor) { return tensor ? MaybeTensor(*tensor) : std::nullopt; }

}  // namespace

extern "C" {

// Writes the value and five tensors that the gradients need to `out`, some of them undefined, and the kernel and the most
// queries and keys to `numbers`. Without a fused kernel nothing but that is written.
int med2e3_attention(at::Tensor* q, at::Tensor* k, at::Tensor* v, at::Tensor* mask, bool is_causal, bool is_grouped,
                     at::Tensor** out, int64_t* numbers) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        const auto kernel = kernel_of(*q, *k, *v, maybe(mask), is_causal, is_grouped);
        numbers[0] = kernel;
        at::Tensor value, logsumexp, cum_q, cum_k, seed, offset;
        c10::SymInt max_q = 0, max_k = 0;
        switch (kernel) {
            case NONE:
                return;
            case CPU_FLASH:
                std::tie(value, logsumexp) = at::_scaled_dot_product_flash_attention_for_cpu(
                    *q, *k, *v, 0.0, is_causal, added(maybe(mask), q->scalar_type()));
                break;
            case CUDA_FLASH:
                std::tie(value, logsumexp, cum_q, cum_k, max_q, max_k, seed, offset, std::ignore) =
                    at::_scaled_dot_product_flash_attention(*q, *k, *v, 0.0, is_causal, /*return_debug_mask=*/false);
                break;
            case CUDNN:
                std::tie(value, logsumexp, cum_q, cum_k, max_q, max_k, seed, offset, std::ignore) =
                    at::_scaled_dot_product_cudnn_attention(*q, *k, *v, {}, /*compute_log_sumexp=*/true, 0.0, is_causal);
                break;
        }
        numbers[1] = max_q.expect_int();
        numbers[2] = max_k.expect_int();
        for (const auto& tensor : {value, logsumexp, cum_q, cum_k, seed, offset}) *out++ = new at::Tensor(tensor);
    });
}

// The gradients of queries, keys and values; `kept` and `numbers` are what med2e3_attention wrote.
int med2e3_attention_gradients(at::Tensor* grad, at::Tensor* q, at::Tensor* k, at::Tensor* v, at::Tensor* mask,
                               bool is_causal, at::Tensor* const* kept, const int64_t* numbers, at::Tensor** out) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        const auto &value = *kept[0], &logsumexp = *kept[1], &cum_q = *kept[2], &cum_k = *kept[3], &seed = *kept[4],
                   &offset = *kept[5];
        at::Tensor of_q, of_k, of_v;
        switch (static_cast<Kernel>(numbers[0])) {
            case NONE:
                TORCH_CHECK(false, "attention without a fused kernel has no gradients apart from its graph");
            case CPU_FLASH:
                std::tie(of_q, of_k, of_v) = at::_scaled_dot_product_flash_attention_for_cpu_backward(
                    *grad, *q, *k, *v, value, logsumexp, 0.0, is_causal, added(maybe(mask), q->scalar_type()));
                break;
            case CUDA_FLASH:
                std::tie(of_q, of_k, of_v) = at::_scaled_dot_product_flash_attention_backward(
                    *grad, *q, *k, *v, value, logsumexp, cum_q, cum_k, numbers[1], numbers[2], 0.0, is_causal, seed,
                    offset);
                break;
            case CUDNN:
                std::tie(of_q, of_k, of_v) = at::_scaled_dot_product_cudnn_attention_backward(
                    *grad, *q, *k, *v, value, logsumexp, seed, offset, /*attn_bias=*/{}, cum_q, cum_k, numbers[1],
                    numbers[2], 0.0, is_causal);
                break;
        }
        for (const auto& tensor : {of_q, of_k, of_v}) *out++ = new at::Tensor(tensor);
    });
}
}
