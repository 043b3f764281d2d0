// One setting of the C allocator.

#include <malloc.h>

#include <climits>
#include <stdexcept>

#include "call.h"

using med2e3::guarded;

extern "C" {

int med2e3_keep_freed_memory() {
    return guarded([&] {
        if (!mallopt(M_MMAP_MAX, 0) || !mallopt(M_TRIM_THRESHOLD, INT_MAX)) {
            throw std::runtime_error("mallopt refused its settings");
        }
    });
}
}
