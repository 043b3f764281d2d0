// How much memory a device has.

#include <ATen/DeviceAccelerator.h>

#include <cstdint>

#include "call.h"

using med2e3::guarded;

extern "C" {

int med2e3_device_capacity(int64_t index, int64_t* numbers) {
    return guarded([&] {
        const auto [free, total] = at::accelerator::getMemoryInfo(static_cast<c10::DeviceIndex>(index));
        numbers[0] = static_cast<int64_t>(free);
        numbers[1] = static_cast<int64_t>(total);
    });
}
}
