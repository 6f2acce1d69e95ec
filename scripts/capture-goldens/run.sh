#!/usr/bin/env bash
# Writes OUTDIR/goldens.bin.gz, random instances of every Kafka message and version as Kafka's own classes write them,
# and OUTDIR/defaults.txt.gz, the fields of every class and their defaults. To check them:
#   ODRADEK_GOLDENS=OUTDIR bun test test/protocol/Goldens.test.ts
#   bash scripts/capture-goldens/run.sh OUTDIR [SEED] [INSTANCES_PER_VERSION]
# KAFKA_JARS: a directory with Kafka's jars; without it they are fetched with Maven into the cache directory.
set -euo pipefail
out=${1:?output directory}
seed=${2:-1}
instances=${3:-5}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=4.3.1
jars=${KAFKA_JARS:-${XDG_CACHE_HOME:-$HOME/.cache}/odradek/kafka-$version}
mkdir -p "$jars" "$out"

fetch() {
  [ -f "$jars/$2-$3.jar" ] && return
  mvn -q -B -Dstyle.color=never dependency:copy -Dartifact="$1:$2:$3" -DoutputDirectory="$jars"
}
sources=()
for artifact in clients metadata group-coordinator transaction-coordinator share-coordinator storage raft; do
  fetch org.apache.kafka "kafka-$artifact" "$version"
  sources+=("$jars/kafka-$artifact-$version.jar")
done
fetch org.slf4j slf4j-api 1.7.36

classpath=$(IFS=:; echo "${sources[*]}:$jars/slf4j-api-1.7.36.jar")
classes=$(mktemp -d)
trap 'rm -rf "$classes"' EXIT
javac -nowarn -d "$classes" -cp "$classpath" "$here/CaptureGoldens.java"
java -Xshare:auto -cp "$classes:$classpath" CaptureGoldens "$out" "$seed" "$instances" "${sources[@]}"
