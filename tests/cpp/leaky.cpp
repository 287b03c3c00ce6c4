// What check_symbols.sh must refuse: a function of no variant, of which the linker would keep one copy for all.
template <typename T>
__attribute__((noinline)) T shared_by_all(T x) {
  return x + 1;
}

namespace albert_fast::cpu::leaky {

int use(int x) { return shared_by_all(x); }

}  // namespace albert_fast::cpu::leaky
