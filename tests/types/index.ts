// Does what the service answers fit the guide's types?  It compiles, or it does not.
//
// On the wire a Date is a string, an enum its value, and an optional key is always there, with null for
// no value.
import type { components, operations } from '../../doc/selliko';
import type * as guide from './guide';

type Wire<T> =
  0 extends 1 & T ? T
  : T extends Date ? string
  : T extends guide.UserRole ? `${T}`
  : T extends (infer U)[] ? Wire<U>[]
  : T extends object
    ? string extends keyof T ? T
    : { [K in keyof T]-?: undefined extends T[K] ? Wire<Exclude<T[K], undefined>> | null : Wire<T[K]> }
  : T;

// `never` would fit everything.
type Found<T> = [T] extends [never] ? 'the document lacks it' : T;
type Schemas = components['schemas'];
type Json<Responses, Status extends keyof Responses> =
  Responses[Status] extends { content: { 'application/json': infer Body } } ? Body : never;
type Ok<Name extends keyof operations> = Found<
  200 extends keyof operations[Name]['responses'] ? Json<operations[Name]['responses'], 200>
  : 201 extends keyof operations[Name]['responses'] ? Json<operations[Name]['responses'], 201>
  : never>;
type Sent<Name extends keyof operations> = Found<
  NonNullable<operations[Name]['requestBody']> extends { content: { 'application/json': infer Body } } ? Body : never>;

// ---- the entities
export const user = (x: Schemas['User']): Wire<guide.User> => x;
export const listing = (x: Schemas['Listing']): Wire<guide.DeviceListing> => x;
export const listedListing = (x: Schemas['ListedListing']): Wire<guide.DeviceListing> => x;
export const bid = (x: Schemas['Bid']): Wire<guide.Bid> => x;
export const order = (x: Schemas['Order']): Wire<guide.Order> => x;
export const task = (x: Schemas['AgentTask']): Wire<guide.AgentTask> => x;

// The contract has more types of notification than the guide; the rest is the guide's.
type Told = Omit<Wire<guide.Notification>, 'type'>;
export const notification = (x: Schemas['Notification']): Told => x;
export const oldTypes = (x: guide.Notification['type']): Schemas['NotificationType'] => x;

// ---- the answers
export const sendOtp = (x: Ok<'sendOtp'>): Wire<guide.PostAuthSendOtpResponse> => x;
export const verifyOtp = (x: Ok<'verifyOtp'>): Wire<guide.PostAuthVerifyOtpResponse> => x;
export const refreshToken = (x: Ok<'refreshToken'>): Wire<guide.PostAuthRefreshTokenResponse> => x;
export const logout = (x: Ok<'logout'>): Wire<guide.PostAuthLogoutResponse> => x;
export const createListing = (x: Ok<'createListing'>): Wire<guide.PostListingsResponse> => x;
export const listListings = (x: Ok<'listListings'>): Wire<guide.GetListingsResponse> => x;
export const getListing = (x: Ok<'getListing'>): Wire<guide.GetListingsOneResponse> => x;
export const reviewListing = (x: Ok<'reviewListing'>): Wire<guide.PutListingsOneApproveResponse> => x;
export const assignAgent = (x: Ok<'assignAgent'>): Wire<guide.PutListingsOneAssignAgentResponse> => x;
export const placeBid = (x: Ok<'placeBid'>): Wire<guide.PostBidsResponse> => x;
export const listBids = (x: Ok<'listBids'>): Wire<guide.GetBidsResponse> => x;
export const browseMarketplace = (x: Ok<'browseMarketplace'>): Wire<guide.GetMarketplaceResponse> => x;
export const listOrders = (x: Ok<'listOrders'>): Wire<guide.GetOrdersResponse> => x;
export const getOrder = (x: Ok<'getOrder'>): Wire<guide.GetOrdersOneResponse> => x;
export const moveOrder = (x: Ok<'moveOrder'>): Wire<guide.PutOrdersOneStatusResponse> => x;
export const listTasks = (x: Ok<'listTasks'>): Wire<guide.GetAgentTasksResponse> => x;
export const acceptTask = (x: Ok<'acceptTask'>): Wire<guide.PutAgentTasksOneAcceptResponse> => x;
export const completeTask = (x: Ok<'completeTask'>): Wire<guide.PutAgentTasksOneCompleteResponse> => x;
export const getDashboard = (x: Ok<'getDashboard'>): Wire<guide.GetAdminDashboardResponse> => x;
export const listPendingListings = (x: Ok<'listPendingListings'>): Wire<guide.GetAdminListingsPendingResponse> => x;
export const listAvailableAgents = (x: Ok<'listAvailableAgents'>): Wire<guide.GetAdminAgentsAvailableResponse> => x;
export const listNotifications = (x: Ok<'listNotifications'>): Omit<Wire<guide.GetNotificationsResponse>, 'notifications'> & { notifications: Told[] } => x;
export const readNotification = (x: Ok<'readNotification'>): Wire<guide.PutNotificationsOneReadResponse> => x;
export const readAllNotifications = (x: Ok<'readAllNotifications'>): Wire<guide.PutNotificationsMarkAllReadResponse> => x;

// ---- the requests: what the guide says may be sent can be sent
export const sendOtpRequest = (x: guide.PostAuthSendOtpRequest): Sent<'sendOtp'> => x;
export const verifyOtpRequest = (x: guide.PostAuthVerifyOtpRequest): Sent<'verifyOtp'> => x;
export const refreshTokenRequest = (x: guide.PostAuthRefreshTokenRequest): Sent<'refreshToken'> => x;
export const reviewListingRequest = (x: guide.PutListingsOneApproveRequest): Sent<'reviewListing'> => x;
export const assignAgentRequest = (x: guide.PutListingsOneAssignAgentRequest): Sent<'assignAgent'> => x;
export const placeBidRequest = (x: guide.PostBidsRequest): Sent<'placeBid'> => x;
export const moveOrderRequest = (x: Omit<guide.PutOrdersOneStatusRequest, 'status'> & Pick<guide.Order, 'status'>): Sent<'moveOrder'> => x;
export const completeTaskRequest = (x: guide.PutAgentTasksOneCompleteRequest): Sent<'completeTask'> => x;
