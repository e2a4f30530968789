// What JavaScript passes to the addon, checked. A check holds until JavaScript runs again: a getter may detach an
// array. So a function first reads all properties, and looks at memory last.
#pragma once

#include <napi.h>

#include <memory>
#include <stdexcept>
#include <string>

/** A typed array's memory. Does not ask for its buffer: Node-API does not support shared buffers. */
struct ArrayMemory {
  napi_typedarray_type type;
  size_t length;  // elements
  void* data;
};

/** Throws std::runtime_error when `value` is no typed array. */
ArrayMemory MemoryOf(Napi::Value value, const char* name);

/** Bytes of one element. */
size_t ElementBytes(napi_typedarray_type type);

/** The elements of an array of this type with at least so many of them. Throws std::runtime_error otherwise. */
template <class Element>
Element* Elements(const ArrayMemory& memory, napi_typedarray_type type, size_t least, const char* name) {
  if (memory.type != type) throw std::runtime_error(std::string(name) + " has another element type. This is a bug.");
  if (memory.length < least) throw std::runtime_error(std::string(name) + " is too short. This is a bug.");
  return static_cast<Element*>(memory.data);
}

/** A number as a size. Throws std::runtime_error when it is not a whole number of 0 to 2^53. */
size_t WholeNumber(double number, const char* name);

/** Throws std::runtime_error when `value` is no function. */
Napi::Function FunctionOf(Napi::Value value, const char* name);

/** A handle for JavaScript. Its tag tells it from the handles of other kinds and of other addons. */
template <class Held>
Napi::External<Held> MakeHandle(Napi::Env env, std::unique_ptr<Held> held, const napi_type_tag& tag) {
  const auto handle =
      Napi::External<Held>::New(env, held.release(), [](Napi::Env, Held* collected) { delete collected; });
  if (napi_type_tag_object(env, handle, &tag) != napi_ok) {
    throw std::runtime_error("A handle cannot be tagged. This is a bug.");
  }
  return handle;
}

/** What a handle with this tag holds. Throws std::runtime_error for any other value. */
template <class Held>
Held& HeldBy(Napi::Value value, const napi_type_tag& tag, const char* name) {
  bool is_ours = false;
  if (!value.IsExternal() || napi_check_object_type_tag(value.Env(), value, &tag, &is_ours) != napi_ok || !is_ours) {
    throw std::runtime_error(std::string("This is no handle of a ") + name + ". This is a bug.");
  }
  return *value.As<Napi::External<Held>>().Data();
}
