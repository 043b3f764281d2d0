// A trace of what libtorch runs, by its own profiler.

#include <torch/csrc/autograd/profiler_kineto.h>

#include <set>
#include <stdexcept>

#include "call.h"

using med2e3::guarded;

extern "C" {

int med2e3_trace_start(int with_cuda) {
    return guarded([&] {
        using namespace torch::profiler::impl;
        std::set<ActivityType> activities{ActivityType::CPU};
        if (with_cuda) activities.insert(ActivityType::CUDA);
        const ProfilerConfig config(ProfilerState::KINETO);
        torch::autograd::profiler::prepareProfiler(config, activities);
        torch::autograd::profiler::enableProfiler(config, activities);
    });
}

int med2e3_trace_stop(const char* path) {
    return guarded([&] {
        const auto result = torch::autograd::profiler::disableProfiler();
        if (!result) throw std::runtime_error("there is no trace to end");
        if (path) result->save(path);
    });
}
}
