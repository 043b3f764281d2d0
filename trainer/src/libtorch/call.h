// What every C++ function here shares. Each returns 0, or -1 after an exception, whose message med2e3_last_error() then
// returns to the same thread. Tensors come as pointers owned by the caller; `out` receives a new tensor that the caller
// owns.

#pragma once

#include <ATen/core/Tensor.h>

#include <exception>
#include <string>
#include <vector>

namespace med2e3 {

void set_last_error(const char* message);

template <typename Body>
int guarded(Body body) {
    try {
        body();
        return 0;
    } catch (const std::exception& error) {
        set_last_error(error.what());
    } catch (...) {
        set_last_error("unknown C++ exception");
    }
    return -1;
}

inline std::vector<at::Tensor> list(at::Tensor* const* tensors, size_t count) {
    std::vector<at::Tensor> result;
    result.reserve(count);
    for (size_t i = 0; i < count; ++i) result.push_back(*tensors[i]);
    return result;
}

}  // namespace med2e3
