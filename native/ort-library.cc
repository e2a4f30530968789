#include "ort-library.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <mutex>
#include <stdexcept>

namespace ort {
namespace {

struct Library {
  Api api{};
  OrtEnv* env = nullptr;
  std::string version;
};

// Never freed: a thread may still use the library while the process runs static destructors.
const Library* library = nullptr;
std::mutex library_mutex;

template <typename Function>
void Bind(Function& target, const void* const* table, size_t index, const char* name) {
  if (table[index] == nullptr) throw std::runtime_error(std::string("libonnxruntime lacks ") + name + ".");
  target = reinterpret_cast<Function>(const_cast<void*>(table[index]));
}

Api ReadTable(const void* const* table) {
  Api api{};
  Bind(api.CreateStatus, table, 0, "CreateStatus");
  Bind(api.GetErrorCode, table, 1, "GetErrorCode");
  Bind(api.GetErrorMessage, table, 2, "GetErrorMessage");
#define BIND(index, name, ...) Bind(api.name, table, index, #name);
  ORT_STATUS_FUNCTIONS(BIND)
  ORT_VOID_FUNCTIONS(BIND)
#undef BIND
  return api;
}

// Creates a status and reads it back, to check that the table starts where we expect it.
void ProbeTable(const Api& api) {
  OrtStatus* status = api.CreateStatus(CODE_FAIL, "probe");
  const bool same = status != nullptr && api.GetErrorCode(status) == CODE_FAIL &&
                    std::strcmp(api.GetErrorMessage(status), "probe") == 0;
  if (!same) throw std::runtime_error("libonnxruntime's function table is not the one this addon was written for.");
  api.ReleaseStatus(status);
}

const ApiBase* OpenBase(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw std::runtime_error(dlerror());
  auto get_base = reinterpret_cast<const ApiBase* (*)()>(dlsym(handle, "OrtGetApiBase"));
  if (get_base == nullptr) throw std::runtime_error(path + " is not libonnxruntime: it has no OrtGetApiBase.");
  return get_base();
}

void CheckVersion(const std::string& version) {
  int major = 0;
  int minor = 0;
  const bool read = std::sscanf(version.c_str(), "%d.%d", &major, &minor) == 2;
  // GetApi itself would only print to stderr and return null.
  if (read && major == 1 && minor >= static_cast<int>(API_VERSION)) return;
  const std::string needed = "1." + std::to_string(API_VERSION);
  throw std::runtime_error("onnxruntime " + version + " is not supported: " + needed + " or a newer 1.x is needed.");
}

}  // namespace

std::string LoadLibrary(const std::string& path) {
  const std::lock_guard<std::mutex> lock(library_mutex);
  if (library != nullptr) return library->version;
  const ApiBase* base = OpenBase(path);
  auto loaded = std::make_unique<Library>();
  loaded->version = base->GetVersionString();
  CheckVersion(loaded->version);
  const void* table = base->GetApi(API_VERSION);
  if (table == nullptr) {
    const std::string wanted = std::to_string(API_VERSION);
    throw std::runtime_error("onnxruntime " + loaded->version + " does not offer API version " + wanted + ".");
  }
  loaded->api = ReadTable(static_cast<const void* const*>(table));
  ProbeTable(loaded->api);
  if (OrtStatus* status = loaded->api.CreateEnv(LOG_ERRORS, "avocado", &loaded->env)) {
    const std::string message = loaded->api.GetErrorMessage(status);
    loaded->api.ReleaseStatus(status);
    throw std::runtime_error(message);
  }
  library = loaded.release();
  return library->version;
}

const Api& GetApi() {
  if (library == nullptr) throw std::logic_error("libonnxruntime is not loaded yet. This is a bug.");
  return library->api;
}

OrtEnv* GetEnv() {
  GetApi();
  return library->env;
}

void Check(OrtStatus* status) {
  if (status == nullptr) return;
  const std::string message = GetApi().GetErrorMessage(status);
  GetApi().ReleaseStatus(status);
  throw std::runtime_error(message);
}

}  // namespace ort
