// cuDNN without a GPU, a library of its own so that a test can leave it out. The provider opens it while it runs and
// looks for these names. Every plan can be built and needs no workspace; running one is written down.
#include <cstddef>
#include <cstdlib>

extern "C" {

void StubLog(const char* format, ...);

size_t cudnnGetVersion() { return 92400; }
size_t cudnnGetCudartVersion() { return 13000; }
const char* cudnnGetErrorString(int) { return "stub"; }
void cudnnGetLastErrorString(char* text, size_t bytes) {
  if (bytes > 0) *text = '\0';
}
int cudnnCreate(void** handle) {
  *handle = calloc(1, 64);
  return 0;
}
int cudnnDestroy(void* handle) {
  free(handle);
  return 0;
}
int cudnnSetStream(void*, void*) { return 0; }
int cudnnGetStream(void*, void** stream) {
  *stream = nullptr;
  return 0;
}

int cudnnBackendCreateDescriptor(int, void** descriptor) {
  *descriptor = calloc(1, 64);
  return 0;
}
int cudnnBackendDestroyDescriptor(void* descriptor) {
  free(descriptor);
  return 0;
}
int cudnnBackendSetAttribute(void*, int, int, long long, const void*) { return 0; }
int cudnnBackendFinalize(void*) { return 0; }
/** One element, zero. Type 15 is a list of descriptors, which the caller has made. */
int cudnnBackendGetAttribute(void*, int, int type, long long, long long* count, void* elements) {
  if (count != nullptr) *count = 1;
  if (elements != nullptr && type != 15) *static_cast<long long*>(elements) = 0;
  return 0;
}
int cudnnBackendExecute(void*, void*, void*) {
  StubLog("CUDNN");
  return 0;
}

}  // extern "C"
