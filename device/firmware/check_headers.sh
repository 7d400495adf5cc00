#!/usr/bin/env bash
# Compile every source of the board's component and of the core against the headers of a real ESP-IDF, without
# building ESP-IDF itself: for machines that lack Espressif's toolchains.
#
#   check_headers.sh IDF_PATH [TARGET [FRONT_END [SERIAL]]]
#
#   IDF_PATH   a checkout of ESP-IDF 5.3 or newer with its submodules lwip and mbedtls (and mqtt, before 6.0)
#   TARGET     esp32c3 (default): compiled to objects; esp32, esp32s3: parsed only, by a compiler for RISC-V
#   FRONT_END  ADC (default), ADS1298, ADS1299;   SERIAL: USB (default) or UART
#   MQTT_PATH  (environment) a checkout of espressif/esp-mqtt: from 6.0 on a component of its own
#   CC         (environment) default riscv64-unknown-elf-gcc with picolibc
#
# sdkconfig.h comes from the real Kconfig files and our sdkconfig.defaults: pip install esp-idf-kconfig.
# Prints one line for each file; exits 1 if one does not compile without a warning.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
idf=$(cd "${1:?IDF_PATH: where is ESP-IDF?}" && pwd)
target=${2:-esp32c3}
front_end=${3:-ADC}
serial=${4:-USB}
python=${PYTHON:-python3}
cc=${CC:-riscv64-unknown-elf-gcc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mqtt=${MQTT_PATH:-$idf/components/mqtt/esp-mqtt}
for needed in "$idf/components/freertos" "$idf/components/lwip/lwip/src" "$mqtt/include/mqtt_client.h"; do
    [ -e "$needed" ] || { echo "$needed is missing: check ESP-IDF out with its submodules" >&2; exit 2; }
done
"$python" -c 'import kconfgen' 2>/dev/null || { echo "kconfgen is missing: pip install esp-idf-kconfig" >&2; exit 2; }

# --- sdkconfig.h, as the build of ESP-IDF makes it ---------------------------------------------------------------
number() { sed -n "s/^set(IDF_VERSION_$1 \([0-9]*\)).*/\1/p" "$idf/tools/cmake/version.cmake"; }
major=$(number MAJOR) minor=$(number MINOR)
kconfigs() { find "$idf"/components -mindepth 2 -maxdepth 2 -name "$1" ! -path '*/linux/*' | sort | sed 's/.*/source "&"/'; }
{ kconfigs Kconfig; echo "source \"$mqtt/Kconfig\""; echo "source \"$here/components/myofed_board/Kconfig\""; } |
    sort -u > "$work/kconfigs.in"
kconfigs Kconfig.projbuild > "$work/projbuild.in"
: > "$work/none.in"
cat "$here/sdkconfig.defaults" "$here/sdkconfig.defaults.$target" > "$work/defaults"
{
    echo "CONFIG_MYOFED_FRONT_END_$front_end=y"
    echo "CONFIG_MYOFED_SERIAL_$serial=y"
    [ "$serial" != UART ] || echo "CONFIG_ESP_CONSOLE_NONE=y"  # UART0 carries frames alone
} >> "$work/defaults"
export COMPONENT_KCONFIGS_SOURCE_FILE=$work/kconfigs.in COMPONENT_KCONFIGS_PROJBUILD_SOURCE_FILE=$work/projbuild.in
export COMPONENT_KCONFIGS_EXCLUDED_SOURCE_FILE=$work/none.in COMPONENT_KCONFIGS_PROJBUILD_EXCLUDED_SOURCE_FILE=$work/none.in
export IDF_PATH=$idf IDF_TARGET=$target IDF_VERSION=$major.$minor.0 IDF_ENV_FPGA="" IDF_TOOLCHAIN=gcc IDF_CMAKE=y
export IDF_MINIMAL_BUILD=n IDF_INIT_VERSION=$major.$minor.0
"$python" -m kconfgen --kconfig "$idf/Kconfig" --sdkconfig-rename "$idf/sdkconfig.rename" --config "$work/sdkconfig" \
    --defaults "$work/defaults" --output header "$work/sdkconfig.h" > "$work/kconfgen.log" 2>&1 ||
    { cat "$work/kconfgen.log" >&2; exit 1; }
for symbol in $(sed -n 's/^\(CONFIG_[A-Z0-9_]*\)=y$/\1/p' "$work/defaults"); do
    grep -q "^#define $symbol 1$" "$work/sdkconfig.h" || echo "note: $symbol has no effect on $target, ESP-IDF $major.$minor"
done

# --- include paths: public headers of all components ------------------------------------------------------------
includes=(-I"$work" -I"$here/components/myofed_board/include" -I"$here/components/myofed_board/src"
    -I"$here/core/include" -I"$mqtt/include")
arch=riscv
case $target in esp32 | esp32s2 | esp32s3) arch=xtensa ;; esac
for folder in "$idf"/components/*/include "$idf"/components/*/"$target"/include "$idf"/components/*/interface \
    "$idf"/components/hal/platform_port/include "$idf"/components/*/platform_include \
    "$idf"/components/soc/"$target"{,/register} "$idf"/components/esp_adc/"$target"/include \
    "$idf"/components/esp_hal_*/"$target"/include "$idf"/components/esp_system/port/include \
    "$idf"/components/esp_hw_support/include/soc{,/"$target"} "$idf"/components/esp_hw_support/port/"$target"{,/include} \
    "$idf"/components/esp_hw_support/{etm,ldo,dma}/include \
    "$idf"/components/esp_libc/{include,platform_include} "$idf"/components/heap/tlsf \
    "$idf"/components/freertos/config/include{,/freertos} "$idf"/components/freertos/config/$arch/include \
    "$idf"/components/freertos/FreeRTOS-Kernel/include{,/freertos} \
    "$idf"/components/freertos/FreeRTOS-Kernel/portable/$arch/include{,/freertos} \
    "$idf"/components/freertos/esp_additions/include{,/freertos} "$idf"/components/esp_rom/"$target"/include/"$target" \
    "$idf"/components/lwip/{include,lwip/src/include,port/include,port/freertos/include,port/esp32xx/include} \
    "$idf"/components/mbedtls/{port/include,mbedtls/include,mbedtls/tf-psa-crypto/include} \
    "$idf"/components/mbedtls/mbedtls/tf-psa-crypto/drivers/builtin/include; do
    case $folder in */components/linux/* | */components/"$([ $arch = riscv ] && echo xtensa || echo riscv)"/*) continue ;; esac
    [ ! -d "$folder" ] || includes+=(-isystem "$folder")
done

# ESP-IDF up to 5.5 is built with newlib; picolibc lacks its re-entrancy structure, of which only the name is used.
if [ "$major" -lt 6 ] && ! echo '#include <sys/reent.h>' | "$cc" -E -x c - > /dev/null 2>&1; then
    mkdir -p "$work/newlib/sys"
    echo 'struct _reent { int _errno; };' > "$work/newlib/sys/reent.h"
    echo '#include <sys/reent.h>' > "$work/newlib/reent.h"
    includes+=(-isystem "$work/newlib")
fi

# --- compile -----------------------------------------------------------------------------------------------------
flags=(-std=gnu17 -O2 -Wall -Wextra -Werror -DESP_PLATFORM -DIDF_VER="\"v$major.$minor\"" -D_GNU_SOURCE
    -DMBEDTLS_CONFIG_FILE="\"mbedtls/esp_config.h\"" -DTF_PSA_CRYPTO_USER_CONFIG_FILE="\"mbedtls/esp_config.h\"" -DSOC_MMU_PAGE_SIZE=CONFIG_MMU_PAGE_SIZE)
if "$cc" --version | grep -q '^riscv'; then
    flags+=(-march=rv32imc_zicsr_zifencei -mabi=ilp32)
    ! "$cc" --version | grep -q '^riscv64-unknown-elf' || flags+=(--specs=picolibc.specs)
    # Names and types of the Xtensa chips can be checked by any compiler with 32-bit pointers, their assembler not.
    [ $arch = riscv ] || flags+=(-U__riscv -D__XTENSA__ -fsyntax-only)
fi
failed=0
for source in "$here"/core/src/*.c "$here"/components/myofed_board/src/*.c "$here"/main/*.c; do
    if "$cc" "${flags[@]}" "${includes[@]}" -c "$source" -o "$work/object" 2> "$work/errors"; then
        echo "ok      ${source#"$here"/}"
    else
        echo "FAILED  ${source#"$here"/}"
        head -"${LINES_SHOWN:-12}" "$work/errors"
        failed=1
    fi
done
[ $failed = 0 ] && echo "all compile against ESP-IDF $major.$minor for $target ($front_end, $serial)"
exit $failed
