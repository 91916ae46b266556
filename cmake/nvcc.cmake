# What is asked of nvcc before anything is compiled by it.

# Sets `out` to a list for CMAKE_CUDA_ARCHITECTURES: machine code for each architecture, and PTX of
# the oldest and the newest. The driver compiles PTX for what has no machine code here: that of the
# newest for what comes after it, that of the oldest for what lies in between.
#
# requested: a list such as "80;90", in which an architecture that nvcc does not know is an error;
# empty: the usual ones that nvcc knows.
function(nondet_cuda_architectures out nvcc requested)
  execute_process(
    COMMAND "${nvcc}" --list-gpu-arch
    OUTPUT_VARIABLE listed
    ERROR_VARIABLE complaint
    RESULT_VARIABLE failed)
  string(REGEX MATCHALL "compute_[0-9]+" known "${listed}")
  if(failed OR NOT known)
    message(FATAL_ERROR "${nvcc} --list-gpu-arch named no architecture: ${listed}${complaint}")
  endif()
  list(TRANSFORM known REPLACE "compute_" "")
  list(SORT known COMPARE NATURAL)
  if(requested)
    set(chosen ${requested})
    foreach(arch IN LISTS requested)
      string(REGEX REPLACE "[a-z]$" "" number "${arch}") # 90a is a variant of 90
      if(NOT number IN_LIST known)
        list(JOIN known ", " allowed)
        message(
          FATAL_ERROR "NONDET_CUDA_ARCHS: ${nvcc} does not know the architecture '${arch}'; it knows ${allowed}")
      endif()
    endforeach()
  else()
    set(chosen 75 80 86 89 90 100 120)
    foreach(arch IN LISTS chosen)
      if(NOT arch IN_LIST known)
        list(REMOVE_ITEM chosen ${arch})
      endif()
    endforeach()
    if(NOT chosen)
      list(JOIN known ", " allowed)
      message(FATAL_ERROR "${nvcc} knows none of the usual architectures, only ${allowed}: set NONDET_CUDA_ARCHS")
    endif()
  endif()
  list(REMOVE_DUPLICATES chosen)
  list(SORT chosen COMPARE NATURAL)
  list(POP_FRONT chosen oldest)
  set(result ${oldest})
  if(chosen)
    list(POP_BACK chosen newest)
    list(TRANSFORM chosen APPEND "-real")
    list(APPEND result ${chosen} ${newest})
  endif()
  set(${out} ${result} PARENT_SCOPE)
endfunction()

# Stops if nvcc would approximate: with the flags given here, or with those that it takes from the
# environment (NVCC_PREPEND_FLAGS, NVCC_APPEND_FLAGS), for which it defines no macro.
function(nondet_refuse_approximations nvcc flags)
  set(source "${CMAKE_CURRENT_BINARY_DIR}/arithmetic.cu")
  file(WRITE "${source}" "__global__ void kernel() {}\n")
  execute_process(
    COMMAND "${nvcc}" ${flags} --dryrun -ptx "${source}" -o "${source}.ptx"
    OUTPUT_VARIABLE commands
    ERROR_VARIABLE more
    RESULT_VARIABLE failed)
  string(APPEND commands "${more}")
  if(failed)
    message(FATAL_ERROR "${nvcc} ${flags} --dryrun failed:\n${commands}")
  endif()
  foreach(setting IN ITEMS "ftz=0" "prec_div=1" "prec_sqrt=1" "fmad=0")
    if(NOT commands MATCHES "-${setting}( |$|\n)")
      message(
        FATAL_ERROR
          "nvcc must compute as IEEE 754 says, or results change (docs/numerics.md), and its commands lack -${setting}. "
          "Take fast-math, -ftz, -prec-div, -prec-sqrt and -fmad out of NVCC_APPEND_FLAGS "
          "('$ENV{NVCC_APPEND_FLAGS}'), NVCC_PREPEND_FLAGS ('$ENV{NVCC_PREPEND_FLAGS}') and CUDAFLAGS ('$ENV{CUDAFLAGS}')")
    endif()
  endforeach()
endfunction()
