// An autograd node whose backward is a closure of the caller, and backward passes that return their errors.

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>
#include <stdexcept>
#include <utility>

#include "call.h"

using med2e3::guarded;
using med2e3::list;

extern "C" const char* med2e3_last_error();

namespace {

// Takes the gradient, writes one new tensor, or null for none, per input, and returns 0; or leaves a message and returns -1.
using Call = int (*)(void* closure, at::Tensor* grad, const bool* is_needed, at::Tensor** results, size_t count);
using Drop = void (*)(void* closure);

// A closure that is dropped once.
struct Closure {
    Closure(void* state, Call call, Drop drop) : state(state), call(call), drop(drop) {}
    Closure(Closure&& other) noexcept : state(std::exchange(other.state, nullptr)), call(other.call), drop(other.drop) {}
    Closure(const Closure&) = delete;
    Closure& operator=(const Closure&) = delete;
    Closure& operator=(Closure&&) = delete;
    ~Closure() { release(); }

    void release() {
        if (void* held = std::exchange(state, nullptr)) drop(held);
    }

    void* state;
    Call call;
    Drop drop;
};

struct ClosureNode : torch::autograd::Node {
    explicit ClosureNode(Closure&& closure) : closure(std::move(closure)) {}

    std::string name() const override { return "ClosureNode"; }

    void release_variables() override { closure.release(); }

    torch::autograd::variable_list apply(torch::autograd::variable_list&& behind) override {
        if (!closure.state) throw std::runtime_error("a second backward pass through a graph that was freed");
        const auto count = num_outputs();
        torch::autograd::variable_list result(count);
        if (!behind[0].defined()) return result;

        at::NoGradGuard no_grad;
        std::vector<at::Tensor*> found(count, nullptr);
        const auto is_needed = std::make_unique<bool[]>(count);
        for (size_t i = 0; i < count; ++i) is_needed[i] = task_should_compute_output(i);
        const int status = closure.call(closure.state, new at::Tensor(behind[0]), is_needed.get(), found.data(), count);
        for (size_t i = 0; i < count; ++i) {
            if (!found[i]) continue;
            result[i] = std::move(*found[i]);
            delete found[i];
        }
        if (status != 0) throw std::runtime_error(med2e3_last_error());
        return result;
    }

    Closure closure;
};

}  // namespace

extern "C" {

void med2e3_set_last_error(const char* message) { med2e3::set_last_error(message); }

int med2e3_attach(at::Tensor* value, at::Tensor* const* inputs, size_t count, void* state, Call call, Drop drop,
                  at::Tensor** out) {
    Closure closure(state, call, drop);
    return guarded([&] {
        const auto node = std::shared_ptr<ClosureNode>(new ClosureNode(std::move(closure)), torch::autograd::deleteNode);
        node->set_next_edges(torch::autograd::collect_next_edges(list(inputs, count)));
        // A tensor of its own on the same memory, so that the closure may hold the value without holding itself.
        auto result = value->detach();
        torch::autograd::create_gradient_edge(result, node);
        *out = new at::Tensor(std::move(result));
    });
}

int med2e3_backward(at::Tensor* result, at::Tensor* grad) {
    return guarded([&] { torch::autograd::backward({*result}, {grad ? *grad : at::Tensor()}); });
}
}
