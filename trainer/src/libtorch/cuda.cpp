// libtorch's CUDA half, loaded on request, and what it finds.

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
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

// The CUDA version that the driver serves, 1000 * major + 10 * minor; the driver's library is the system's own, not libtorch's.
int med2e3_driver_version(int* version) {
    return guarded([&] {
        void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
        if (!driver) throw std::runtime_error(dlerror());
        const auto get = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDriverGetVersion"));
        if (!get || get(version) != 0) throw std::runtime_error("libcuda.so.1 does not tell its version");
    });
}

// The name of a GPU as the driver has it, a C string of at most `size` bytes.
int med2e3_device_name(int index, char* name, int size) {
    return guarded([&] {
        void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
        if (!driver) throw std::runtime_error(dlerror());
        const auto start = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
        const auto device_of = reinterpret_cast<int (*)(int*, int)>(dlsym(driver, "cuDeviceGet"));
        const auto name_of = reinterpret_cast<int (*)(char*, int, int)>(dlsym(driver, "cuDeviceGetName"));
        int device = 0;
        if (!start || !device_of || !name_of || start(0) != 0 || device_of(&device, index) != 0 ||
            name_of(name, size, device) != 0) {
            throw std::runtime_error("libcuda.so.1 does not tell the device's name");
        }
    });
}

// The version of libtorch's CUDA half, and its GPUs.
int med2e3_cuda_devices(int* version, int* count) {
    return guarded([&] {
        *version = static_cast<int>(at::detail::getCUDAHooks().versionCUDART());
        *count = static_cast<int>(at::detail::getCUDAHooks().getNumGPUs());
    });
}
}
