// The Go gRPC client, as an orchestrator would use it, against a running server: unary and streaming
// calls with metadata, details of errors, deadlines, cancellation, health. Messages are made from the
// descriptor set that the build leaves behind. Prints "ok NAME" or "not ok NAME: what was seen".
//
//	go_client ADDR PROTOSET
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

const (
	service = "/pith.v1.CompressionService/"
	text    = "the build of 2026-11-21 failed after 17 minutes with status 0x1f"
)

var failed bool

func check(name string, held bool, seen ...any) {
	if held {
		fmt.Println("ok go_" + name)
		return
	}
	failed = true
	line := strings.Join(strings.Fields(fmt.Sprint(seen...)), " ")
	fmt.Printf("not ok go_%s: %.600s\n", name, line)
}

// client makes messages by name and calls methods by theirs.
type client struct {
	files *protoregistry.Files
	conn  *grpc.ClientConn
}

func (c *client) message(name string) *dynamicpb.Message {
	found, err := c.files.FindDescriptorByName(protoreflect.FullName("pith.v1." + name))
	if err != nil {
		panic(err)
	}
	return dynamicpb.NewMessage(found.(protoreflect.MessageDescriptor))
}

func set(m *dynamicpb.Message, field string, value any) {
	m.Set(m.Descriptor().Fields().ByName(protoreflect.Name(field)), protoreflect.ValueOf(value))
}

func get(m protoreflect.Message, field string) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(protoreflect.Name(field)))
}

func (c *client) request(id, words string) *dynamicpb.Message {
	m := c.message("CompressRequest")
	set(m, "id", id)
	set(m, "text", words)
	return m
}

func (c *client) compress(ctx context.Context, request proto.Message, opts ...grpc.CallOption) (*dynamicpb.Message, error) {
	reply := c.message("CompressResponse")
	return reply, c.conn.Invoke(ctx, service+"Compress", request, reply, opts...)
}

func (c *client) stream(ctx context.Context) (grpc.ClientStream, error) {
	return c.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, service+"StreamCompress")
}

func (c *client) item(request *dynamicpb.Message) *dynamicpb.Message {
	m := c.message("StreamCompressRequest")
	set(m, "request", request)
	return m
}

func (c *client) unary(ctx context.Context) {
	var header, trailer metadata.MD
	ctx = metadata.AppendToOutgoingContext(ctx, "x-request-id", "go-unary-1")
	reply, err := c.compress(ctx, c.request("g", text), grpc.Header(&header), grpc.Trailer(&trailer))
	check("compresses", err == nil && get(reply, "id").String() == "g" && get(reply, "input_words").Uint() == 11, err, reply)
	kept := get(reply, "text").String()
	check("gets_the_critical_words_back", strings.Contains(kept, "0x1f") && strings.Contains(kept, "2026-11-21"), kept)
	check("gets_its_request_id_back", len(header["x-request-id"]) == 1 && header["x-request-id"][0] == "go-unary-1", header)
	check("gets_usage_and_timing_as_trailers", len(trailer["pith-usage"]) == 1 && len(trailer["server-timing"]) == 1 &&
		strings.HasPrefix(trailer["pith-usage"][0], "input_tokens="), trailer)
}

// details gives an error's details by their Go types.
func details(err error) (info *errdetails.ErrorInfo, bad *errdetails.BadRequest, request *errdetails.RequestInfo) {
	for _, one := range status.Convert(err).Details() {
		switch d := one.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.BadRequest:
			bad = d
		case *errdetails.RequestInfo:
			request = d
		}
	}
	return info, bad, request
}

func (c *client) refusals(ctx context.Context) {
	wrong := c.request("", text) // without one of its own, the call's id stands in the details
	set(wrong, "target_ratio", float64(5))
	_, err := c.compress(metadata.AppendToOutgoingContext(ctx, "x-request-id", "go-wrong-1"), wrong)
	info, bad, request := details(err)
	check("sees_a_refusals_code_and_reason", status.Code(err) == codes.InvalidArgument && info.GetDomain() == "pith.v1" &&
		info.GetReason() == "INVALID_REQUEST", err, info)
	check("sees_which_field_was_wrong", len(bad.GetFieldViolations()) == 1 &&
		bad.GetFieldViolations()[0].GetField() == "target_ratio", bad)
	check("sees_its_request_id_in_a_refusal", request.GetRequestId() == "go-wrong-1", request)
	unknown := c.request("u", text)
	set(unknown, "model", "no-such-model")
	_, err = c.compress(ctx, unknown)
	check("sees_that_a_model_is_not_there", status.Code(err) == codes.NotFound, err)
	short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	_, err = c.compress(short, c.request("d", strings.Repeat(text+"\n", 20000)))
	check("sees_its_deadline", status.Code(err) == codes.DeadlineExceeded, err)
}

func (c *client) streams(ctx context.Context) {
	const n = 20
	ctx = metadata.AppendToOutgoingContext(ctx, "x-request-id", "go-stream-1")
	s, err := c.stream(ctx)
	if err != nil {
		check("opens_a_stream", false, err)
		return
	}
	go func() {
		for i := range n {
			request := c.request(fmt.Sprint(i), text)
			if i == 7 {
				set(request, "target_ratio", float64(5))
			}
			if s.SendMsg(c.item(request)) != nil {
				return
			}
		}
		_ = s.CloseSend()
	}()
	seen, wrong := map[string]bool{}, ""
	for {
		reply := c.message("StreamCompressResponse")
		if err = s.RecvMsg(reply); err != nil {
			break
		}
		outcome := reply.WhichOneof(reply.Descriptor().Oneofs().Get(0))
		seen[get(reply, "id").String()] = true
		if outcome != nil && outcome.Name() == "error" {
			wrong += get(reply, "id").String() + " "
		}
	}
	header, _ := s.Header()
	check("streams_and_gets_every_item_once", errors.Is(err, io.EOF) && len(seen) == n, err, seen)
	check("sees_an_items_error_beside_the_others_answers", wrong == "7 ", wrong)
	check("gets_a_streams_request_id_back", len(header["x-request-id"]) == 1 && header["x-request-id"][0] == "go-stream-1", header)
	leaving, cancel := context.WithCancel(ctx)
	s, err = c.stream(leaving)
	if err == nil {
		_ = s.SendMsg(c.item(c.request("left", text)))
		cancel()
		err = s.RecvMsg(c.message("StreamCompressResponse"))
	}
	cancel()
	check("may_leave_a_stream", status.Code(err) == codes.Canceled, err)
}

func (c *client) many(ctx context.Context) {
	const n = 200
	var group sync.WaitGroup
	var mutex sync.Mutex
	wrong := []string{}
	for i := range n {
		group.Add(1)
		go func() {
			defer group.Done()
			id := fmt.Sprint("many-", i)
			reply, err := c.compress(ctx, c.request(id, fmt.Sprintf("call %d of %d", i, n)))
			if err != nil || get(reply, "id").String() != id {
				mutex.Lock()
				wrong = append(wrong, fmt.Sprint(id, " ", err))
				mutex.Unlock()
			}
		}()
	}
	group.Wait()
	check("gets_200_answers_at_once_over_one_connection", len(wrong) == 0, wrong)
}

func (c *client) health(ctx context.Context) {
	reply, err := healthpb.NewHealthClient(c.conn).Check(ctx, &healthpb.HealthCheckRequest{Service: "pith.v1.CompressionService"})
	check("checks_health", err == nil && reply.GetStatus() == healthpb.HealthCheckResponse_SERVING, err, reply)
}

func open(addr, protoset string) (*client, error) {
	stored, err := os.ReadFile(protoset)
	if err != nil {
		return nil, err
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err = proto.Unmarshal(stored, set); err != nil {
		return nil, err
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return &client{files, conn}, err
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go_client ADDR PROTOSET")
		os.Exit(2)
	}
	c, err := open(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "go_client:", err)
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, part := range []func(context.Context){c.unary, c.refusals, c.streams, c.many, c.health} {
		part(ctx)
	}
	_ = c.conn.Close()
	if failed {
		os.Exit(1)
	}
}
