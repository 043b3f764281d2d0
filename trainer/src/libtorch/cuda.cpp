// libtorch's CUDA half, loaded on request.

#include <dlfcn.h>

#include <stdexcept>

#include "call.h"

using med2e3::guarded;

extern "C" {

int med2e3_open_cuda() {
    return guarded([&] {
        if (!dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL)) throw std::runtime_error(dlerror());
    });
}
}
