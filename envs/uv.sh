# Sourced. uv installs from a cache of unpacked packages by hard links: a second checkout's environment takes seconds.

# Go by the settings that pip has on this machine (mirrors, local wheels, certificates); $1: the environment's python.
uv_settings() {
  local settings
  settings=$("$1" -m pip config list)
  pip_setting() { sed -n "s/^[a-z:]*\.$1='\(.*\)'\$/\1/p" <<<"$settings" | head -n 1 | sed 's/\\n/ /g'; }
  give() { [ -z "$2" ] || export "$1=${!1:-$2}"; }
  give UV_DEFAULT_INDEX "$(pip_setting index-url)"
  give UV_INDEX "$(pip_setting extra-index-url)"
  give UV_FIND_LINKS "$(pip_setting find-links | tr -s ' ' ,)"
  give SSL_CERT_FILE "$(pip_setting cert)"
  # As pip does it: the best version of all indexes.
  give UV_INDEX_STRATEGY unsafe-best-match
  give UV_CACHE_DIR "${BUNCHTRAIN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bunchtrain}/uv"
  export UV_NO_CONFIG=1
}
