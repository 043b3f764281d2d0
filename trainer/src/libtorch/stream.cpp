// Copies between host and device that nobody waits for: pinned memory, a copy stream, events. Through libtorch_cpu and libc10
// alone: the CUDA half registers what it does for streams and pinned memory when it is loaded.

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <cstdint>
#include <memory>

#include "call.h"

using med2e3::guarded;

namespace {

c10::Device cuda(int index) { return c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index)); }

c10::Stream current_stream(c10::Device device) { return c10::impl::getDeviceGuardImpl(device.type())->getStream(device); }

std::unique_ptr<c10::Event> recorded(const c10::Stream& stream) {
    auto event = std::make_unique<c10::Event>(stream.device_type());
    event->record(stream);
    return event;
}

}  // namespace

extern "C" {

// The tensor in pinned memory of its own, whose allocator gives it to nobody else before copies from it are done.
int med2e3_upload(at::Tensor* host, int index, at::Tensor** out) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        const c10::DeviceGuard device(cuda(index));
        const auto pinned = at::empty(host->sizes(), host->options().pinned_memory(true));
        pinned.copy_(*host);
        *out = new at::Tensor(pinned.to(cuda(index), /*non_blocking=*/true));
    });
}

int med2e3_pinned(int64_t bytes, int index, at::Tensor** out) {
    return guarded([&] {
        const c10::DeviceGuard device(cuda(index));
        *out = new at::Tensor(at::empty({bytes}, at::device(at::kCPU).dtype(at::kByte).pinned_memory(true)));
    });
}

int med2e3_stream_open(int index, c10::Stream** out) {
    return guarded([&] {
        const auto device = cuda(index);
        const auto* implementation = c10::impl::getDeviceGuardImpl(device.type());
        *out = new c10::Stream(implementation->getStreamFromGlobalPool(device, /*isHighPriority=*/false));
    });
}

void med2e3_stream_close(c10::Stream* stream) { delete stream; }

// Copies the first bytes of a pinned block to a new tensor on the stream; the current stream goes on behind the copy.
int med2e3_stream_upload(c10::Stream* stream, at::Tensor* block, int64_t bytes, at::Tensor** out, c10::Event** done) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        const auto device = stream->device();
        const c10::DeviceGuard device_guard(device);
        const auto compute = current_stream(device);
        at::Tensor copy;
        std::unique_ptr<c10::Event> event;
        {
            // Its memory comes from the copy stream's own pool, so that no computation in flight reads what it overwrites.
            const c10::StreamGuard stream_guard(*stream);
            copy = at::empty({bytes}, at::device(device).dtype(at::kByte));
            copy.copy_(block->narrow(0, 0, bytes), /*non_blocking=*/true);
            event = recorded(*stream);
        }
        event->block(compute);
        copy.record_stream(compute);
        *out = new at::Tensor(copy);
        *done = event.release();
    });
}

// Copies a tensor of a device to a new pinned one behind what the current stream computes.
int med2e3_download(at::Tensor* source, at::Tensor** out, c10::Event** done) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        const c10::DeviceGuard device_guard(source->device());
        const auto pinned = at::empty(source->sizes(), source->options().device(at::kCPU).pinned_memory(true));
        pinned.copy_(*source, /*non_blocking=*/true);
        auto event = recorded(current_stream(source->device()));
        *out = new at::Tensor(pinned);
        *done = event.release();
    });
}

int med2e3_event_wait(c10::Event* event) {
    return guarded([&] { event->synchronize(); });
}

void med2e3_event_close(c10::Event* event) { delete event; }
}
