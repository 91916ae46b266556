#include "requests.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "machine.h"

namespace emulation {

namespace {

constexpr uintptr_t kSectorBytes = 32;

struct Place {
  const void* site;
  uint32_t meetings, round;
  bool operator==(const Place&) const = default;
};

struct PlaceHash {
  size_t operator()(const Place& place) const {
    const auto site = reinterpret_cast<uintptr_t>(place.site);
    return (site * 0x9e3779b97f4a7c15u) ^ (uint64_t{place.meetings} << 32 | place.round);
  }
};

struct Request {
  bool write = false;
  std::vector<uintptr_t> sectors;
};

// The rounds of a lane at an instruction since its last meeting with others.
struct Rounds {
  uint32_t meetings = 0, count = 0;
};

struct WarpRequests {
  std::unordered_map<Place, Request, PlaceHash> made;
  std::unordered_map<const void*, Rounds> lane[kWarpSize];
};

std::unordered_map<const Warp*, WarpRequests> under_way;
std::vector<LaunchRequests> launches;

void add(Requests& to, Request& request) {
  std::vector<uintptr_t>& sectors = request.sectors;
  std::sort(sectors.begin(), sectors.end());
  ++to.count;
  to.sectors +=
      static_cast<uint64_t>(std::unique(sectors.begin(), sectors.end()) - sectors.begin());
}

}  // namespace

void start_requests(const char* kernel) {
  under_way.clear();
  launches.emplace_back().kernel = kernel;
}

void on_request(const Thread& thread, const void* address, size_t bytes, bool write,
                const void* site) {
  WarpRequests& warp = under_way[thread.warp];
  Rounds& rounds = warp.lane[thread.lane][site];
  if (rounds.meetings != thread.meetings) rounds = {thread.meetings, 0};
  Request& request = warp.made[{site, rounds.meetings, rounds.count++}];
  request.write = write;
  const auto first = reinterpret_cast<uintptr_t>(address);
  for (uintptr_t at = first / kSectorBytes; at <= (first + bytes - 1) / kSectorBytes; ++at)
    request.sectors.push_back(at);
}

void finish_requests(const Block& block) {
  LaunchRequests& launch = launches.back();
  for (const Warp& warp : block.warps) {
    const auto found = under_way.find(&warp);
    if (found == under_way.end()) continue;
    const uint64_t before = launch.loads.count;
    for (auto& [place, request] : found->second.made)
      add(request.write ? launch.stores : launch.loads, request);
    launch.longest = std::max(launch.longest, launch.loads.count - before);
    under_way.erase(found);
  }
}

std::vector<LaunchRequests> take_requests() { return std::exchange(launches, {}); }

}  // namespace emulation
