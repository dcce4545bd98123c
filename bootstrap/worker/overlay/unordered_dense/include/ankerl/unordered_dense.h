// The part of ankerl::unordered_dense that mediasoup uses, over the containers of the standard library.
//
// The original keeps its elements in one array, which is a little faster to walk. The standard containers promise more
// (references stay valid while others are inserted and erased), so code that is right with the original is right here.

#ifndef SKEIN_ANKERL_UNORDERED_DENSE_H
#define SKEIN_ANKERL_UNORDERED_DENSE_H

#include <cstddef>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>

namespace ankerl::unordered_dense
{
	namespace detail
	{
		// The standard hash of a number is commonly the number. mediasoup joins hashes of small numbers (ports, flags)
		// into one, so spread every bit over all of them: two rounds of multiply and fold.
		constexpr std::uint64_t Spread(std::uint64_t value) noexcept
		{
			value = (value ^ (value >> 32)) * 0x9e3779b97f4a7c15ull;
			value = (value ^ (value >> 29)) * 0xd1342543de82ef95ull;

			return value ^ (value >> 32);
		}
	} // namespace detail

	template<typename T, typename Enable = void>
	struct hash : std::hash<T>
	{
	};

	template<typename T>
	struct hash<T, std::enable_if_t<std::is_integral_v<T> || std::is_enum_v<T>>>
	{
		std::size_t operator()(T value) const noexcept
		{
			return static_cast<std::size_t>(detail::Spread(static_cast<std::uint64_t>(value)));
		}
	};

	template<typename T>
	struct hash<T*>
	{
		std::size_t operator()(T* value) const noexcept
		{
			return static_cast<std::size_t>(detail::Spread(reinterpret_cast<std::uintptr_t>(value)));
		}
	};

	template<typename Key, typename T, typename Hash = hash<Key>, typename Equal = std::equal_to<Key>>
	using map = std::unordered_map<Key, T, Hash, Equal>;

	template<typename Key, typename Hash = hash<Key>, typename Equal = std::equal_to<Key>>
	using set = std::unordered_set<Key, Hash, Equal>;
} // namespace ankerl::unordered_dense

#endif
