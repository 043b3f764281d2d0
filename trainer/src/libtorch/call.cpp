// The message of the last exception.

#include "call.h"

namespace {

thread_local std::string last_error;

}  // namespace

void med2e3::set_last_error(const char* message) { last_error = message; }

extern "C" const char* med2e3_last_error() { return last_error.c_str(); }
