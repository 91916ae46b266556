// What the variant of this build can do; -D gives both.
namespace emulation {

extern const bool kAccessesObserved = NONDET_EMULATION_OBSERVED;
extern const bool kTranslated = NONDET_EMULATION_TRANSLATED;

}  // namespace emulation
