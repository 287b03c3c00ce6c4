#!/bin/sh
# check_symbols.sh NM VARIANT OBJECT...
#
# Fails if an object defines a symbol for the linker that does not carry the variant's namespace in its name. An inline
# function without it (std::max, say) exists once per variant under one name; the linker keeps one of them, which may
# be compiled for instructions this machine lacks.
set -eu
nm=$1 variant=$2
shift 2

for object in "$@"; do
  [ -s "$object" ] || { echo "$object: no such object file" >&2; exit 2; }
done

# nm: address, type, name. Capital letters and u, v, w are visible to the linker. AddressSanitizer marks each global
# with an __odr_asan symbol of its mangled name, and unwinds scopes, for which objects refer to the one personality
# routine through a pointer: DW.ref.* is data, the same in all of them.
symbols=$("$nm" -C --defined-only "$@" | sed -n '/__odr_asan/d; / DW\.ref\.__gxx_personality_v0$/d; s/^[0-9a-f]\{8,\} \([A-Zuvw]\) /\1 /p')
own=$(printf '%s\n' "$symbols" | grep -c "albert_fast::cpu::$variant::" || true)
strays=$(printf '%s\n' "$symbols" | grep -v "albert_fast::cpu::$variant::" || true)
if [ -n "$strays" ]; then
  echo "symbols outside albert_fast::cpu::$variant:" >&2
  printf '%s\n' "$strays" >&2
  exit 1
fi
if [ "$own" -eq 0 ]; then
  echo "no symbol of albert_fast::cpu::$variant in: $*" >&2
  exit 1
fi
echo "$own symbols, all of albert_fast::cpu::$variant"
