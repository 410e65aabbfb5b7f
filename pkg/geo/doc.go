// Package geo says where clients are: it reads geo databases and an operator's
// overrides and compiles them into client networks, each with its place,
// autonomous system and coordinates.
//
// [Load] reads everything named in a [Config], in this order:
//
//   - databases: MMDB files of the City, Country, Enterprise, ISP or ASN kind,
//     and range CSV files (start,end,country). They are read into memory and
//     never mapped: a mapped file that is rewritten in place kills the process.
//     Per field the first database that knows wins (see merge).
//   - the built-in continents, from IANA's registries, only where no database
//     is configured.
//   - overrides, on top of either, per field.
//
// Data finer than a block (/24, /56) is cut to whole blocks: the majority of
// the placed addresses in the block decides (see cutter).
//
// Invariants:
//   - A [Data] is immutable: any number of goroutines may read one.
//   - A database is taken whole or not at all. One that does not open, or knows
//     much less of the world than its predecessor in the same slot, or has
//     moved too much of it, is refused with a finding, and the predecessor
//     stays in the slot (see compare).
//   - The same files give the same [Networks] and the same [Data.ID].
//   - Files are hostile: whatever is in one, Load ends, in time and memory that
//     the file's size bounds, and does not panic.
//
// Limits are the constants DatabaseBytesMax, networksMax, OverridesMax and
// those beside them. The package is for the control plane: Load takes seconds
// and is called in the background; nothing here is called while a query waits.
package geo
