// The abilities of this variant, both set by -D.
namespace emulation {

extern const bool kAccessesObserved = NONDET_EMULATION_OBSERVED;
extern const bool kTranslated = NONDET_EMULATION_TRANSLATED;

}  // namespace emulation
