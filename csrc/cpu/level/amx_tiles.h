// AMX tiles: those of the processor, or in a build with DDS_FAST_EMULATE_AMX the same in software,
// which tests the kernels where there are none, and stops where they are used unconfigured.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace dds::DDS_LEVEL {

constexpr int64_t kMaxTileHeight = 16;

struct TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t column_bytes[16] = {};
  uint8_t rows[16] = {};
};

}  // namespace dds::DDS_LEVEL

#ifdef DDS_EMULATE_AMX
#undef _tile_loadconfig
#undef _tile_release
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig dds::DDS_LEVEL::emulated::load_config
#define _tile_release dds::DDS_LEVEL::emulated::release
#define _tile_loadd dds::DDS_LEVEL::emulated::load_tile
#define _tile_stored dds::DDS_LEVEL::emulated::store_tile
#define _tile_dpbf16ps dds::DDS_LEVEL::emulated::multiply_pairs

namespace dds::DDS_LEVEL::emulated {

struct Tiles {
  TileConfig config;
  bool configured = false;
  alignas(64) char data[8][16][64];
};

static Tiles& tiles() {
  static thread_local Tiles result;
  return result;
}

static Tiles& configured_tiles() {
  if (!tiles().configured) __builtin_trap();
  return tiles();
}

static void load_config(const void* config) {
  Tiles& t = tiles();
  __builtin_memcpy(&t.config, config, sizeof(t.config));
  __builtin_memset(t.data, 0, sizeof(t.data));
  t.configured = true;
}

static void release() { tiles().configured = false; }

static void load_tile(int tile, const void* base, int64_t stride) {
  Tiles& t = configured_tiles();
  for (int row = 0; row < t.config.rows[tile]; ++row) {
    __builtin_memcpy(t.data[tile][row], static_cast<const char*>(base) + row * stride,
                     t.config.column_bytes[tile]);
  }
}

static void store_tile(int tile, void* base, int64_t stride) {
  Tiles& t = configured_tiles();
  for (int row = 0; row < t.config.rows[tile]; ++row) {
    __builtin_memcpy(static_cast<char*>(base) + row * stride, t.data[tile][row],
                     t.config.column_bytes[tile]);
  }
}

static float from_half(const char* half) {
  uint16_t bits;
  __builtin_memcpy(&bits, half, 2);
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float result;
  __builtin_memcpy(&result, &wide, 4);
  return result;
}

// sums[m][n] += a[m][2k] * b[k][2n] + a[m][2k+1] * b[k][2n+1]
static void multiply_pairs(int sums, int a, int b) {
  Tiles& t = configured_tiles();
  for (int m = 0; m < t.config.rows[sums]; ++m) {
    auto* sum = reinterpret_cast<float*>(t.data[sums][m]);
    for (int k = 0; k < t.config.column_bytes[a] / 4; ++k) {
      for (int n = 0; n < t.config.column_bytes[sums] / 4; ++n) {
        for (int i = 0; i < 2; ++i) {
          sum[n] +=
              from_half(t.data[a][m] + (2 * k + i) * 2) * from_half(t.data[b][k] + (2 * n + i) * 2);
        }
      }
    }
  }
}

}  // namespace dds::DDS_LEVEL::emulated
#endif

namespace dds::DDS_LEVEL {

// Tiles 0..5, of sums and rows, get `height` rows; 6 and 7, of weights, all 16.
static inline void configure_tiles(int64_t height) {
  alignas(64) TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.column_bytes[i] = 64;
    config.rows[i] = static_cast<uint8_t>(i < 6 ? height : kMaxTileHeight);
  }
  // GCC's intrinsic claims to read eight bytes: without the barrier the other stores may go.
  asm volatile("" ::"r"(&config) : "memory");
  _tile_loadconfig(&config);
}

}  // namespace dds::DDS_LEVEL
