// Memory of this process by mmap, not malloc: a page that is never touched never uses memory. No page is a huge one.
#pragma once

#include <cstddef>

/** Throws std::runtime_error when the addresses cannot be reserved. */
std::byte* MapZeroed(size_t bytes);

/** Gives memory from MapZeroed back. */
void UnmapZeroed(std::byte* memory, size_t bytes) noexcept;

/** Gives the memory of whole pages back and keeps their addresses: they read as zeros. Throws std::runtime_error. */
void DiscardPages(std::byte* memory, size_t bytes);
