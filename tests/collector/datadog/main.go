// Reads an ExportTraceServiceRequest on stdin and prints, one JSON object a line, what Datadog makes of each span.
package main

import (
	"encoding/json"
	"io"
	"log"
	"os"

	"github.com/DataDog/datadog-agent/pkg/trace/config"
	"github.com/DataDog/datadog-agent/pkg/trace/transform"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func main() {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	traces, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(body)
	if err != nil {
		log.Fatal(err)
	}
	settings := config.New()
	out := json.NewEncoder(os.Stdout)
	for i := 0; i < traces.ResourceSpans().Len(); i++ {
		resource := traces.ResourceSpans().At(i)
		for j := 0; j < resource.ScopeSpans().Len(); j++ {
			scope := resource.ScopeSpans().At(j)
			for k := 0; k < scope.Spans().Len(); k++ {
				span := transform.OtelSpanToDDSpan(scope.Spans().At(k), resource.Resource(), scope.Scope(), settings)
				if err := out.Encode(span); err != nil {
					log.Fatal(err)
				}
			}
		}
	}
}
