#include "arguments.h"

#include <cmath>

ArrayMemory MemoryOf(Napi::Value value, const char* name) {
  ArrayMemory memory{};
  const napi_status status =
      napi_get_typedarray_info(value.Env(), value, &memory.type, &memory.length, &memory.data, nullptr, nullptr);
  if (status != napi_ok) throw std::runtime_error(std::string(name) + " is not a typed array. This is a bug.");
  return memory;
}

size_t ElementBytes(napi_typedarray_type type) {
  switch (type) {
    case napi_int8_array:
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      return 1;
    case napi_int16_array:
    case napi_uint16_array:
      return 2;
    case napi_int32_array:
    case napi_uint32_array:
    case napi_float32_array:
      return 4;
    case napi_float64_array:
    case napi_bigint64_array:
    case napi_biguint64_array:
      return 8;
    default:
      throw std::runtime_error("A typed array of an unknown kind. This is a bug.");
  }
}

size_t WholeNumber(double number, const char* name) {
  constexpr double kMost = 9007199254740992;  // 2^53
  if (!(number >= 0 && number <= kMost && std::trunc(number) == number)) {
    throw std::runtime_error(std::string(name) + " is no whole number of 0 to 2^53. This is a bug.");
  }
  return static_cast<size_t>(number);
}

Napi::Function FunctionOf(Napi::Value value, const char* name) {
  if (!value.IsFunction()) throw std::runtime_error(std::string(name) + " is not a function. This is a bug.");
  return value.As<Napi::Function>();
}
